"""Somebody from elsewhere tries to join with a proof that is not good."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from attest_kit import Registered, StandInMint, registered, these
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from holder_kit import PopAuthority, der, sign
from hypothesis import given
from hypothesis import strategies as st

from midflight.adapters.attestation.x509pop import X509Possession
from midflight.domain.attestation import Attested
from midflight.domain.errors import Conflict, Forbidden, Unauthenticated, Unavailable
from midflight.services.joining import Joining
from midflight.testing.clock import FakeClock
from midflight.testing.words import OPERATOR, WORKLOAD
from midflight.wire.tokens import read_certificate

pytestmark = pytest.mark.anyio


class Plane:
    def __init__(self, made: Registered, authority: PopAuthority) -> None:
        self.made = made
        self.authority = authority
        self.mint = StandInMint()
        self.joining = self.joined(X509Possession(authority.file))

    def joined(self, possession: X509Possession | None, audience: str = "https://a") -> Joining:
        plane = self.made.plane
        return Joining(
            tokens=self.made.join_tokens,
            registration=self.made.registration,
            store=plane.store,
            sealer=plane.sealer,
            clock=plane.clock,
            audience=audience,
            possession=possession,
            mint=self.mint,
        )

    async def answer(
        self,
        key: Any,
        *chain: x509.Certificate,
        algorithm: str | None = None,
        signer: Any = None,
        signed: bytes | None = None,
    ) -> Attested:
        asked = self.joining.challenge()
        message = (asked.prefix + asked.challenge).encode() if signed is None else signed
        honest, signature = sign(signer or key, message)
        return await self.joining.by_certificate(
            asked.challenge,
            [der(each) for each in chain],
            algorithm=honest if algorithm is None else algorithm,
            signature=signature,
        )


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    async with registered() as made:
        found = Plane(made, PopAuthority(tmp_path))
        await found.joining.start()
        yield found


KEYS = [
    lambda: ec.generate_private_key(ec.SECP256R1()),
    lambda: ec.generate_private_key(ec.SECP384R1()),
    lambda: rsa.generate_private_key(65_537, 2_048),
    ed25519.Ed25519PrivateKey.generate,
]


@pytest.mark.parametrize("make", KEYS)
async def test_an_honest_holder_is_established_and_gets_an_identity(
    plane: Plane, make: Any
) -> None:
    key = make()
    leaf = plane.authority.issue(key)
    attested = await plane.answer(key, leaf)
    assert {str(selector) for selector in attested.selectors} == {
        f"x509pop:ca:fingerprint:{plane.authority.fingerprint}",
        f"x509pop:serialnumber:{leaf.serial_number:x}",
        "x509pop:subject:cn:machine-1",
    }
    with pytest.raises(Forbidden):
        plane.joining.entry(attested)
    selectors = these(
        f"x509pop:ca:fingerprint:{plane.authority.fingerprint}", "x509pop:subject:cn:machine-1"
    )
    await plane.made.registration.add(spiffe_id=WORKLOAD, selectors=selectors, author=OPERATOR)
    entry = plane.joining.entry(attested)
    assert (await plane.joining.x509(entry, proof="p")).spiffe_id == WORKLOAD
    with pytest.raises(Forbidden):
        plane.joining.entry(attested, "spiffe://other.example/x")


async def refused(plane: Plane, *arguments: Any, **more: Any) -> str:
    with pytest.raises(Unauthenticated) as found:
        await plane.answer(*arguments, **more)
    return found.value.message


async def test_a_foreign_authority_is_refused(plane: Plane, tmp_path: Path) -> None:
    key, foreign = KEYS[0](), PopAuthority(tmp_path, "foreign")
    assert "configured authority" in await refused(plane, key, foreign.issue(key))
    # Nor does it help to bring that authority along, or to take the name of the right one.
    await refused(plane, key, foreign.issue(key), foreign.certificate)
    twin = PopAuthority(tmp_path / "..", "pop")
    await refused(plane, key, twin.issue(key), twin.certificate)


async def test_an_expired_certificate_is_refused(plane: Plane) -> None:
    key = KEYS[0]()
    now = dt.datetime.fromtimestamp(plane.made.plane.clock.now(), dt.UTC)
    await refused(plane, key, plane.authority.issue(key, until=now - dt.timedelta(seconds=1)))


async def test_weak_keys_are_refused(plane: Plane) -> None:
    weak = rsa.generate_private_key(65_537, 1_024)
    await refused(plane, weak, plane.authority.issue(weak))
    curve = ec.generate_private_key(ec.SECP224R1())
    await refused(plane, curve, plane.authority.issue(curve), algorithm="ecdsa-p256-sha256")


async def test_another_algorithm_than_the_keys_is_refused(plane: Plane) -> None:
    key = KEYS[0]()
    leaf = plane.authority.issue(key)
    for algorithm in ("none", "", "HS256", "ecdsa-p384-sha384", "rsa-pss-sha256", "ed25519"):
        assert "another algorithm" in await refused(plane, key, leaf, algorithm=algorithm)


async def test_a_signature_by_another_key_is_refused(plane: Plane) -> None:
    key, other = KEYS[0](), KEYS[0]()
    leaf = plane.authority.issue(key)
    assert "signature" in await refused(plane, key, leaf, signer=other)
    assert "signature" in await refused(plane, key, leaf, signed=b"something else")


async def test_an_authority_in_between_joins_as_nobody(plane: Plane) -> None:
    key = KEYS[0]()
    await refused(plane, key, plane.authority.issue(key, authority=True))


async def test_a_critical_extension_that_is_not_understood_is_refused(plane: Plane) -> None:
    key = KEYS[0]()
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    await refused(plane, key, plane.authority.issue(key, extension=odd))


async def test_an_answer_does_not_count_twice(plane: Plane) -> None:
    key = KEYS[0]()
    leaf = der(plane.authority.issue(key))
    asked = plane.joining.challenge()
    algorithm, signature = sign(key, (asked.prefix + asked.challenge).encode())
    again = {"algorithm": algorithm, "signature": signature}
    await plane.joining.by_certificate(asked.challenge, [leaf], **again)
    with pytest.raises(Unauthenticated, match="answered before"):
        await plane.joining.by_certificate(asked.challenge, [leaf], **again)


async def test_a_late_or_made_up_challenge_is_refused(plane: Plane) -> None:
    key = KEYS[0]()
    leaf = der(plane.authority.issue(key))
    asked = plane.joining.challenge()
    clock = plane.made.plane.clock
    assert isinstance(clock, FakeClock)
    later = int(clock.now()) + 9_999
    made_up = f"{later}." + asked.challenge.partition(".")[2]
    clock.advance(60)
    for challenge in (asked.challenge, made_up, "", "a.b.c", "é", "9" * 5_000):
        algorithm, signature = sign(key, (asked.prefix + challenge).encode())
        with pytest.raises(Unauthenticated, match="challenge"):
            await plane.joining.by_certificate(
                challenge, [leaf], algorithm=algorithm, signature=signature
            )


async def test_an_answer_for_one_plane_is_worth_nothing_to_another(plane: Plane) -> None:
    other = plane.joined(X509Possession(plane.authority.file), audience="https://b")
    await other.start()
    key = KEYS[0]()
    leaf = der(plane.authority.issue(key))
    asked = plane.joining.challenge()
    algorithm, signature = sign(key, (asked.prefix + asked.challenge).encode())
    with pytest.raises(Unauthenticated, match="signature"):
        await other.by_certificate(
            asked.challenge, [leaf], algorithm=algorithm, signature=signature
        )


async def test_without_an_authority_nobody_is_let_in(plane: Plane) -> None:
    with pytest.raises(Unavailable):
        plane.joined(None).challenge()


@given(chain=st.lists(st.binary(max_size=60), max_size=6), signature=st.binary(max_size=40))
def test_any_bytes_are_refused_cleanly(
    tmp_path_factory: pytest.TempPathFactory, chain: list[bytes], signature: bytes
) -> None:
    possession = POSSESSION.setdefault(0, _possession(tmp_path_factory))
    with pytest.raises(Unauthenticated):
        possession.prove(
            chain, algorithm="ed25519", message=b"m", signature=signature, now=1_800_000_000.0
        )


def _broken(authority: PopAuthority, key: Any) -> dict[str, bytes]:
    """Certificates that load, or nearly, and break when they are looked into."""
    whole = der(authority.issue(key))
    names = x509.SubjectAlternativeName([x509.DNSName("a.test")])
    named = der(authority.issue(key, extension=names))
    version = bytes.fromhex("a003020102")
    usage, constraints = bytes.fromhex("0603551d0f"), bytes.fromhex("0603551d13")
    assert whole.count(version) == whole.count(usage) == named.count(b"\x82\x06a.test") == 1
    return {
        "a version that there is not": whole.replace(version, version[:-1] + b"\x09"),
        "one extension twice": whole.replace(usage, constraints),
        "a kind of name that nobody reads": named.replace(b"\x82\x06a.test", b"\xa5\x06a.test"),
    }


async def test_a_certificate_that_breaks_its_reader_is_refused_like_any_other(
    plane: Plane,
) -> None:
    key = KEYS[0]()
    for what, made in _broken(plane.authority, key).items():
        asked = plane.joining.challenge()
        algorithm, signature = sign(key, (asked.prefix + asked.challenge).encode())
        with pytest.raises(Unauthenticated):
            await plane.joining.by_certificate(
                asked.challenge, [made], algorithm=algorithm, signature=signature
            )
        try:
            read_certificate(made)  # at the door of TLS; what reads it may also find nothing
        except Unauthenticated:
            continue
        assert what == "one extension twice"


POSSESSION: dict[int, X509Possession] = {}


def _possession(factory: pytest.TempPathFactory) -> X509Possession:
    return X509Possession(PopAuthority(factory.mktemp("pop")).file)


async def test_a_join_token_for_a_disabled_workload_lets_nobody_in(plane: Plane) -> None:
    new = await plane.made.join_tokens.create(WORKLOAD, OPERATOR)
    await plane.made.plane.inventory.disable(WORKLOAD, OPERATOR)
    _, entry = await plane.joining.by_token(new.token)
    with pytest.raises(Forbidden, match="disabled"):
        await plane.joining.jwt(entry, ["a"], proof="p")
    assert plane.mint.asked == []
    with pytest.raises(Unauthenticated):
        await plane.joining.by_token(new.token)


async def test_a_proof_that_makes_several_workloads_names_one(plane: Plane) -> None:
    other = WORKLOAD + "-two"
    before = await plane.made.plane.inventory.get(WORKLOAD)
    fields = {name: getattr(before, name) for name in before.__struct_fields__}
    await plane.made.plane.inventory.register(type(before)(**fields | {"id": other}), OPERATOR)
    for spiffe_id in (WORKLOAD, other):
        await plane.made.registration.add(
            spiffe_id=spiffe_id, selectors=these("x509pop:subject:cn:machine-1"), author=OPERATOR
        )
    key = KEYS[0]()
    attested = await plane.answer(key, plane.authority.issue(key))
    with pytest.raises(Conflict):
        plane.joining.entry(attested)
    assert plane.joining.entry(attested, other).spiffe_id == other
