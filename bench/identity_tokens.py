"""Proofs of callers in process: tokens and DPoP proofs, cold and warm, and tokens of others.

The store is the one in memory, so that what is measured is reading, signatures and bookkeeping; a
real store adds one write to each DPoP proof. Revocation is not part of a proof: the guard asks it
for every action, whatever is remembered here, and its cost has a row of its own.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from bench.report import Row, at_most, median
from midflight.adapters.fabric.local import LocalFabric
from midflight.adapters.keys.es256 import Es256TokenSigner
from midflight.adapters.store.memory import MemoryStore
from midflight.domain.identity import Author, Workload
from midflight.domain.outside_token import Profile
from midflight.domain.revocation import ScopeKind
from midflight.domain.spiffe import TrustBundle
from midflight.services.identity import Identity
from midflight.services.interruption import Interruption
from midflight.services.presented import Credentials
from midflight.services.svid_callers import SvidCallers
from midflight.testing import FakeClock
from midflight.wire import spiffe, tokens

CALLS = 2_000
ISSUER = "https://plane.example.test"
RESOURCE = f"{ISSUER}/mcp"
WORKLOAD = "spiffe://example.test/agents/bench"


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _sealed(header: dict[str, Any], claims: dict[str, Any], sign: Callable[[bytes], bytes]) -> str:
    text = f"{_b64(json.dumps(header).encode())}.{_b64(json.dumps(claims).encode())}"
    return f"{text}.{_b64(sign(text.encode()))}"


class _Client:
    """A client with a P-256 key, which makes proofs before anything is timed."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        numbers = self.key.public_key().public_numbers()
        self.jwk = {
            "kty": "EC",
            "crv": "P-256",
            "x": _b64(numbers.x.to_bytes(32, "big")),
            "y": _b64(numbers.y.to_bytes(32, "big")),
        }
        self.jkt = tokens.thumbprint(self.jwk)

    def sign(self, message: bytes) -> bytes:
        r, s = decode_dss_signature(self.key.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def proof(self, token: str, now: int) -> str:
        digest = hashes.Hash(hashes.SHA256())
        digest.update(token.encode())
        return _sealed(
            {"typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk},
            {
                "jti": secrets.token_urlsafe(12),
                "htm": "POST",
                "htu": RESOURCE,
                "iat": now,
                "ath": _b64(digest.finalize()),
            },
            self.sign,
        )


class _Bench:
    def __init__(self) -> None:
        self.clock = FakeClock(1_800_000_000)
        self.store = MemoryStore()
        self.signer = Es256TokenSigner.fresh(clock=self.clock)
        self.interruption = Interruption(
            store=self.store, fabric=LocalFabric(), recorder=_Silent(), clock=self.clock
        )
        self.identity = Identity(
            store=self.store,
            signer=self.signer,
            clock=self.clock,
            recorder=_Silent(),
            proofs=tokens,
            issuer=ISSUER,
            resource=RESOURCE,
            trust_domain="example.test",
            jwks_uri=f"{ISSUER}/.well-known/jwks.json",
        )

    def token(self, jkt: str | None) -> str:
        header, claims = tokens.access_claims(
            issuer=ISSUER,
            resource=RESOURCE,
            workload=WORKLOAD,
            token=f"tok_{secrets.token_hex(13)}",
            issued_at=int(self.clock.now()),
            lifetime_s=600,
            run=None,
            thumbprint=jkt,
        )
        return self.signer.sign(header, claims)


class _None:
    def bundle(self, trust_domain: str) -> TrustBundle | None:
        del trust_domain


class _Silent:
    available = True

    def append(self, record: Any) -> Any:
        del record
        return _Durable()


class _Durable:
    id = "w:1"

    async def durable(self) -> None:
        return


def rows() -> list[Row]:
    """All rows."""
    return asyncio.run(_run())


async def _run() -> list[Row]:
    bench = _Bench()
    await bench.store.open()
    client = _Client()
    now = int(bench.clock.now())
    await bench.store.put_workload(
        Workload(id=WORKLOAD, owner="bench", escalation="bench", review_by=now + 86_400)
    )
    author = Author(name="bench", proof="bench")
    minted = [
        (await bench.identity.mint(workload=WORKLOAD, author=author, jkt=client.jkt)).token
        for _ in range(CALLS)
    ]
    first = [_dpop(token, client.proof(token, now)) for token in minted]
    bound = [bench.token(client.jkt) for _ in range(CALLS)]
    cold = [_dpop(token, client.proof(token, now)) for token in bound]
    warm = [_dpop(bound[0], client.proof(bound[0], now)) for _ in range(CALLS)]
    plain = [_bearer(bench.token(None)) for _ in range(CALLS)]
    # As on a plane that believes SVIDs, too; none is shown here.
    bench.identity.believe(
        SvidCallers(bundles=_None(), svids=spiffe, certificates=tokens, audience=RESOURCE)
    )
    identify = bench.identity.identify
    rows = [
        _row("DPoP, token minted here, its first use", await _each(identify, first), 150),
        _row("DPoP, token never seen by this process", await _each(identify, cold), 150),
        _row("DPoP, token known, proof new", await _each(identify, warm), 150),
        _row("bearer, token new", await _each(identify, plain), None),
        _row("bearer, token known", await _each(identify, [plain[-1]] * CALLS), 10),
    ]
    scopes = [(kind, "x") for kind in ScopeKind]
    rows.append(
        _row("is it revoked (9 scopes)", _plain(lambda: bench.interruption.covering(scopes)), None)
    )
    return rows + _others(now)


def _others(now: int) -> list[Row]:
    """Tokens that others sign."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    numbers = key.public_key().public_numbers()
    jwk = {"kty": "RSA", "n": _b64(numbers.n.to_bytes(256, "big")), "e": "AQAB", "kid": "k"}
    profile = Profile(kind="CI token", issuer="https://ci", audience=ISSUER, algorithms=("RS256",))
    claims = {
        "iss": "https://ci",
        "aud": ISSUER,
        "sub": "job",
        "jti": "1",
        "iat": now,
        "exp": now + 300,
    }
    text = _sealed(
        {"typ": "JWT", "alg": "RS256", "kid": "k"},
        claims,
        lambda message: key.sign(message, padding.PKCS1v15(), hashes.SHA256()),
    )
    jwks = {"keys": [jwk]}
    taken = _plain(lambda: tokens.verify(text, profile=profile, jwks=jwks, now=now))
    return [_row("CI token, RS256", taken, None)]


async def _each(
    work: Callable[[Credentials], Awaitable[object]], all_: Sequence[Credentials]
) -> list[float]:
    taken: list[float] = []
    for one in all_:
        start = time.perf_counter()
        await work(one)
        taken.append(time.perf_counter() - start)
    return taken


def _plain(work: Callable[[], object]) -> list[float]:
    taken: list[float] = []
    for _ in range(CALLS):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return taken


def _bearer(token: str) -> Credentials:
    return Credentials(authorization=(f"Bearer {token}",), method="POST", url=RESOURCE)


def _dpop(token: str, proof: str) -> Credentials:
    return Credentials(authorization=(f"DPoP {token}",), dpop=(proof,), method="POST", url=RESOURCE)


def _row(name: str, taken: Sequence[float], target: float | None) -> Row:
    microseconds = median(taken) * 1e6
    if target is None:
        return Row(name, microseconds, "µs")
    return at_most(name, microseconds, "µs", target)


__all__ = ["rows"]
