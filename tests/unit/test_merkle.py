"""The Merkle tree, against the vectors that every RFC 6962 implementation shares."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midflight.domain.errors import Malformed
from midflight.domain.merkle import EMPTY_ROOT, Tree

# certificate-transparency's reference leaves and the roots of the first 1 … 8 of them.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

leaves = st.lists(st.binary(max_size=8), max_size=70)


def recursive_root(items: list[bytes]) -> bytes:
    """MTH of RFC 6962 §2.1, as it is written there."""
    if not items:
        return hashlib.sha256(b"").digest()
    if len(items) == 1:
        return hashlib.sha256(b"\x00" + items[0]).digest()
    k = 1 << (len(items) - 1).bit_length() - 1
    left, right = recursive_root(items[:k]), recursive_root(items[k:])
    return hashlib.sha256(b"\x01" + left + right).digest()


def test_the_roots_are_those_of_the_reference_vectors() -> None:
    tree = Tree()
    assert tree.root() == EMPTY_ROOT == hashlib.sha256(b"").digest()
    for size, (leaf, root) in enumerate(zip(LEAVES, ROOTS, strict=True), 1):
        tree.append(leaf)
        assert tree.size == size
        assert tree.root().hex() == root


@given(leaves)
def test_the_compact_range_gives_the_root_of_the_definition(items: list[bytes]) -> None:
    tree = Tree()
    tree.extend(items)
    assert tree.root() == recursive_root(items)


@given(leaves, st.integers(0, 70))
def test_a_tree_goes_on_from_its_compact_range(items: list[bytes], cut: int) -> None:
    tree = Tree()
    tree.extend(items[:cut])
    resumed = Tree.resume(tree.size, tree.peaks())
    resumed.extend(items[cut:])
    assert resumed.root() == recursive_root(items)


def test_a_leaf_cannot_pass_for_a_node() -> None:
    left, right = (hashlib.sha256(b"\x00" + leaf).digest() for leaf in (b"a", b"b"))
    two, forged = Tree(), Tree()
    two.extend([b"a", b"b"])
    forged.append(left + right)
    assert two.root() != forged.root()


@pytest.mark.parametrize(
    ("size", "peaks"), [(1, b""), (2, bytes(64)), (3, bytes(32)), (0, bytes(32)), (-1, b"")]
)
def test_a_range_that_no_tree_of_that_size_has_is_refused(size: int, peaks: bytes) -> None:
    with pytest.raises(Malformed):
        Tree.resume(size, peaks)
