"""The certificate authority: where intermediates come from, and how one follows another."""

from __future__ import annotations

import stat
import time
from pathlib import Path
from typing import Any

import pytest
from counterpart_kit import openbao
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from svid_forge import DOMAIN, TRIAGE, Forge, authority

from midflight.adapters.authority.openbao import OpenBaoPki
from midflight.adapters.authority.own import ROOT_FILE, ROOT_KEY_FILE, OwnRoot
from midflight.adapters.authority.rolling import (
    AUTHORITY_FILE,
    OVERLAP_S,
    RollingAuthority,
)
from midflight.adapters.authority.upstream_file import UpstreamFiles
from midflight.domain.errors import Conflict, Misconfigured, Unavailable
from midflight.domain.spiffe import TrustBundle, X509Svid
from midflight.testing import FakeClock
from midflight.wire.spiffe import verify_x509_svid

pytestmark = pytest.mark.anyio
MONTH_S = 30 * 86_400
PKI = "pki/"


def verified(made: RollingAuthority, svid: X509Svid, clock: FakeClock) -> str:
    bundle = TrustBundle(trust_domain=DOMAIN, x509_authorities=made.roots)
    return verify_x509_svid(svid.chain, bundle=bundle, now=clock.now())


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def own(keys: Path, clock: FakeClock) -> RollingAuthority:
    return RollingAuthority(keys, OwnRoot(keys, trust_domain=DOMAIN), clock=clock)


async def test_a_leaf_is_what_the_standard_wants(keys: Path, clock: FakeClock) -> None:
    made = own(keys, clock)
    await made.start()
    svid = await made.issue(TRIAGE, ttl_s=7_200)
    leaf, middle = (x509.load_der_x509_certificate(der) for der in svid.chain)
    assert leaf.subject != leaf.issuer == middle.subject
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.UniformResourceIdentifier(TRIAGE)]
    constraints = leaf.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert not constraints.value.ca
    assert leaf.not_valid_after_utc.timestamp() == int(clock.now()) + 3_600 == svid.expires_at
    assert verified(made, svid, clock) == TRIAGE
    assert "PRIVATE" not in repr(svid)
    assert len({(await made.issue(TRIAGE, ttl_s=60)).key for _ in range(3)}) == 3


async def test_files_are_private_and_a_restart_goes_on(keys: Path, clock: FakeClock) -> None:
    made = own(keys, clock)
    await made.start()
    svid = await made.issue(TRIAGE, ttl_s=60)
    for name in (ROOT_KEY_FILE, ROOT_FILE, AUTHORITY_FILE):
        assert stat.S_IMODE((keys / name).stat().st_mode) == 0o600
    again = own(keys, clock)
    await again.start()
    assert again.roots == made.roots
    assert verified(again, svid, clock) == TRIAGE


async def test_the_root_key_may_be_taken_away_until_it_is_needed(
    keys: Path, clock: FakeClock
) -> None:
    made = own(keys, clock)
    await made.start()
    root = (keys / ROOT_KEY_FILE).read_bytes()
    (keys / ROOT_KEY_FILE).unlink()
    made = own(keys, clock)
    await made.start()
    clock.advance(MONTH_S * 0.9)
    assert not await made.refresh()  # due, and not to be had: said in the log, nothing else signs
    assert verified(made, await made.issue(TRIAGE, ttl_s=3_600), clock) == TRIAGE
    with pytest.raises(Unavailable, match="offline"):
        await made.rotate()
    clock.advance(MONTH_S * 0.2)
    with pytest.raises(Unavailable, match="in force"):
        await made.issue(TRIAGE, ttl_s=3_600)
    with pytest.raises(Unavailable, match="offline"):
        await own(keys, clock).start()
    (keys / ROOT_KEY_FILE).write_bytes(root)
    (keys / ROOT_KEY_FILE).chmod(0o600)
    await made.start()
    assert verified(made, await made.issue(TRIAGE, ttl_s=3_600), clock) == TRIAGE


async def test_a_new_root_is_published_before_it_signs_and_the_old_one_after(
    keys: Path, clock: FakeClock
) -> None:
    made = own(keys, clock)
    await made.start()
    first = made.roots
    before = await made.issue(TRIAGE, ttl_s=3_600)
    await made.rotate(root=True)
    both = made.roots
    assert both[:1] == first
    assert len(both) == 2
    still = await made.issue(TRIAGE, ttl_s=3_600)
    assert still.chain[1:] == before.chain[1:]
    clock.advance(OVERLAP_S - 1)
    assert not await made.refresh()
    clock.advance(1)
    assert await made.refresh()
    after = await made.issue(TRIAGE, ttl_s=3_600)
    assert after.chain[1:] != before.chain[1:]
    # Who looked at the bundle before the switch verifies what is signed after it.
    bundle = TrustBundle(trust_domain=DOMAIN, x509_authorities=both)
    assert verify_x509_svid(after.chain, bundle=bundle, now=clock.now()) == TRIAGE
    assert verified(made, still, clock) == TRIAGE
    clock.advance(3_700)
    assert made.roots == both[1:]
    await made.refresh()
    again = own(keys, clock)
    await again.start()
    assert again.roots == both[1:]


async def test_an_intermediate_is_renewed_at_half_of_its_life(keys: Path, clock: FakeClock) -> None:
    made = own(keys, clock)
    await made.start()
    ends = made.ends_at
    clock.advance(MONTH_S / 2 + 1)
    assert await made.refresh()
    assert made.ends_at == ends
    clock.advance(OVERLAP_S)
    assert await made.refresh()
    assert made.ends_at > ends
    assert len(made.roots) == 1


async def test_a_leaf_never_outlives_the_authority(keys: Path, clock: FakeClock) -> None:
    made = own(keys, clock)
    await made.start()
    clock.advance(MONTH_S - 100)
    svid = await made.issue(TRIAGE, ttl_s=3_600)
    assert svid.expires_at == made.ends_at


@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff", b"[" * 10_000])
async def test_a_damaged_file_is_told_and_not_replaced(
    keys: Path, clock: FakeClock, damage: bytes
) -> None:
    await own(keys, clock).start()
    for name in (AUTHORITY_FILE, ROOT_KEY_FILE):
        kept = (keys / name).read_bytes()
        (keys / name).write_bytes(damage)
        made = own(keys, clock)
        with pytest.raises(Misconfigured):
            await started_and_rotated(made)
        assert (keys / name).read_bytes() == damage
        (keys / name).write_bytes(kept)


async def started_and_rotated(made: RollingAuthority) -> None:
    await made.start()
    await made.rotate()


# An upstream authority in files


def pem(*forged: Forge) -> bytes:
    return b"".join(one.certificate.public_bytes(Encoding.PEM) for one in forged)


class Given:
    """Files that an operator keeps."""

    def __init__(self, folder: Path, root: Forge, middle: Forge) -> None:
        self.parts = {
            "certificate": folder / "middle.pem",
            "key": folder / "middle.key",
            "roots": folder / "roots.pem",
        }
        self.put(root, middle)

    def put(self, root: Forge, middle: Forge) -> None:
        key = middle.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self.parts["certificate"].write_bytes(pem(middle))
        self.parts["key"].write_bytes(key)
        self.parts["key"].chmod(0o600)
        self.parts["roots"].write_bytes(pem(root))

    def source(self) -> UpstreamFiles:
        return UpstreamFiles(trust_domain=DOMAIN, **self.parts)


async def test_an_upstream_authority_in_files_signs_and_is_replaced_with_overlap(
    tmp_path: Path, keys: Path, clock: FakeClock
) -> None:
    root, other = authority(), authority(subject="other root")
    given = Given(tmp_path, root, authority(root))
    made = RollingAuthority(keys, given.source(), clock=clock)
    await made.start()
    before = await made.issue(TRIAGE, ttl_s=600)
    assert verified(made, before, clock) == TRIAGE
    assert made.roots == (root.der,)
    with pytest.raises(Conflict):
        await made.rotate(root=True)
    given.put(other, authority(other))
    assert await made.refresh()
    assert made.roots == (root.der, other.der)
    assert (await made.issue(TRIAGE, ttl_s=600)).chain[1:] == before.chain[1:]
    clock.advance(OVERLAP_S)
    assert await made.refresh()
    after = await made.issue(TRIAGE, ttl_s=600)
    assert after.chain[1:] != before.chain[1:]
    assert verified(made, after, clock) == TRIAGE


async def test_upstream_files_that_do_not_fit_are_told(
    tmp_path: Path, keys: Path, clock: FakeClock
) -> None:
    root, stranger = authority(), authority(subject="stranger")
    wrong: list[Any] = [
        (stranger, authority(root), 0o600),  # to another root
        (root, Forge(root), 0o600),  # a workload's certificate
        (root, authority(root, names=("spiffe://partner.test",)), 0o600),
        (root, authority(root, ends=int(clock.now()) - 1), 0o600),
        (root, authority(root), 0o644),  # a key that others can read
    ]
    for top, middle, mode in wrong:
        given = Given(tmp_path, top, middle)
        given.parts["key"].chmod(mode)
        with pytest.raises(Misconfigured):
            await RollingAuthority(keys, given.source(), clock=clock).start()
    given = Given(tmp_path, root, authority(root))
    given.parts["certificate"].write_bytes(pem(authority(root)))  # of another key
    with pytest.raises(Misconfigured, match="is not the key"):
        await RollingAuthority(keys, given.source(), clock=clock).start()


# OpenBao


@pytest.mark.openbao
async def test_openbao_signs_intermediates_and_is_not_needed_in_between(
    tmp_path: Path, keys: Path
) -> None:

    clock = FakeClock(time.time())  # OpenBao goes by the clock of the machine
    with openbao(tmp_path / "bao") as bao:
        bao.call("POST", "sys/mounts/pki", {"type": "pki", "config": {"max_lease_ttl": "87600h"}})
        bao.call(
            "POST", f"{PKI}root/generate/internal", {"common_name": "org root", "ttl": "87600h"}
        )
        policy = f'path "{PKI}root/sign-intermediate" {{ capabilities = ["update"] }}'
        bao.call("POST", "sys/policies/acl/midflight", {"policy": policy})
        token = bao.call("POST", "auth/token/create", {"policies": ["midflight"]})
        secret = token["auth"]["client_token"]
        source = OpenBaoPki(bao.url, mount="pki", token=lambda: secret, trust_domain=DOMAIN)
        made = RollingAuthority(keys, source, clock=clock)
        await made.start()
        svid = await made.issue(TRIAGE, ttl_s=600)
        assert verified(made, svid, clock) == TRIAGE
        middle = x509.load_der_x509_certificate(svid.chain[1])
        assert middle.extensions.get_extension_for_class(x509.BasicConstraints).value == (
            x509.BasicConstraints(ca=True, path_length=0)
        )
        with pytest.raises(Conflict):
            await made.rotate(root=True)
        await made.rotate()
        clock.advance(OVERLAP_S)
        assert await made.refresh()
        after = await made.issue(TRIAGE, ttl_s=600)
        assert after.chain[1] != svid.chain[1]
        assert verified(made, after, clock) == TRIAGE
        denied = OpenBaoPki(bao.url, mount="pki", token=lambda: "no", trust_domain=DOMAIN)
        with pytest.raises(Unavailable, match="refuses") as told:
            await denied.obtain(now=clock.now(), root=False)
        assert secret not in repr(source) + str(told.value)
    assert verified(made, await made.issue(TRIAGE, ttl_s=600), clock) == TRIAGE
    with pytest.raises(Unavailable, match="does not answer"):
        await made.rotate()
