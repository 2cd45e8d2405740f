"""Joining from elsewhere: a join token, or a certificate whose key signs a challenge, for an SVID.

Challenges are made without keeping them: they carry their end and a MAC, and are noted as used only
once they were answered well, so strangers cost no memory. What somebody proves becomes selectors,
those an entry, and the entry an SVID. Below: `join_tokens.py`, `registration.py`,
`ports/possession.py`, `ports/svid_mint.py`. Above: `apps/gateway/attest.py`.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from midflight.domain.attestation import Attested, Entry
from midflight.domain.errors import Conflict, Forbidden, Unauthenticated, Unavailable
from midflight.domain.spiffe import JwtSvid, X509Svid
from midflight.domain.value import Value
from midflight.services.join_tokens import JoinTokens
from midflight.services.ports.clock import Clock
from midflight.services.ports.possession import Possession
from midflight.services.ports.store import Store
from midflight.services.ports.svid_mint import SvidMint
from midflight.services.registration import Registration
from midflight.services.sealing import Sealer

CHALLENGE_S = 60
MAX_CHALLENGE = 256
PURPOSE = "x509pop"
_SECRET = "midflight:x509pop"  # noqa: S105 -- the name of a secret


class Challenge(Value):
    """What is to be signed, behind `prefix`, until `expires_at` (Unix seconds)."""

    challenge: str
    prefix: str
    expires_at: int


class Joining:
    """See the module. `start` it before use."""

    def __init__(
        self,
        *,
        tokens: JoinTokens,
        registration: Registration,
        store: Store,
        sealer: Sealer,
        clock: Clock,
        audience: str,
        possession: Possession | None = None,
        mint: SvidMint | None = None,
    ) -> None:
        """`audience` is who asks: a signature for one plane is worth nothing to another."""
        self._tokens = tokens
        self._registration = registration
        self._store = store
        self._sealer = sealer
        self._clock = clock
        self._prefix = f"midflight x509pop 1\n{audience}\n"
        self._possession = possession
        self._mint = mint
        self._key = b""

    async def start(self) -> None:
        """Read the key of the challenges. `StoreUnavailable` if there is none to be had."""
        self._key = await self._sealer.derive(_SECRET, purpose=PURPOSE)

    def issue_with(self, mint: SvidMint) -> None:
        """Have SVIDs made by this from now on."""
        self._mint = mint

    def challenge(self) -> Challenge:
        """A fresh challenge. `Unavailable` where certificates let nobody in."""
        self._checks()
        expires_at = int(self._clock.now()) + CHALLENGE_S
        body = f"{expires_at}.{self._clock.token()}"
        return Challenge(
            challenge=f"{body}.{self._mac(body)}", prefix=self._prefix, expires_at=expires_at
        )

    async def by_certificate(
        self, challenge: str, chain: Sequence[bytes], *, algorithm: str, signature: bytes
    ) -> Attested:
        """Who signed a challenge. It is used up by this.

        Raises:
            Unavailable: certificates let nobody in here.
            Unauthenticated: the challenge, the chain or the signature does not hold.
        """
        checks = self._checks()
        now = self._clock.now()
        expires_at = self._check_challenge(challenge, now)
        selectors = checks.prove(
            chain,
            algorithm=algorithm,
            message=(self._prefix + challenge).encode(),
            signature=signature,
            now=now,
        )
        if not await self._store.use_once(PURPOSE, challenge, until=expires_at, now=int(now)):
            raise Unauthenticated(
                "The challenge has been answered before.", hint="Ask for a new one."
            )
        return Attested(selectors=frozenset(selectors))

    async def by_token(self, token: str) -> tuple[Attested, Entry]:
        """Who brings a join token; it is used up by this. Raises as `JoinTokens.redeem`."""
        self._minting()  # before the token is spent for nothing
        return await self._tokens.redeem(token)

    def entry(self, attested: Attested, spiffe_id: str | None = None) -> Entry:
        """The entry of somebody who proved something: the one named, or the only one.

        Raises:
            Forbidden: there is none.
            Conflict: there are several, and none is named.
        """
        found = self._registration.entries_for(attested)
        names = sorted({entry.spiffe_id for entry in found})
        if spiffe_id is not None:
            found = [entry for entry in found if entry.spiffe_id == spiffe_id]
        elif len(names) > 1:
            raise Conflict(
                f"This proof makes {len(names)} workloads: {', '.join(names)}.",
                hint="Name one as spiffe_id.",
            )
        if not found:
            raise Forbidden(
                "No registration entry in force matches what was proved.",
                hint="An operator adds one: midflight entry add.",
            )
        return found[0]

    async def x509(self, entry: Entry, *, proof: str) -> X509Svid:
        """A first X509-SVID. `Forbidden` if the workload may not act; `Unavailable`."""
        return await self._checked(entry).x509(entry, proof=proof)

    async def jwt(self, entry: Entry, audience: Sequence[str], *, proof: str) -> JwtSvid:
        """A first JWT-SVID. Raises as `x509`."""
        return await self._checked(entry).jwt(entry, audience, proof=proof)

    # Inside

    def _checked(self, entry: Entry) -> SvidMint:
        problem = self._registration.why_not(entry)
        if problem is not None:
            raise Forbidden(f"{entry.spiffe_id} gets no identity now. {problem}")
        return self._minting()

    def _minting(self) -> SvidMint:
        if self._mint is None:
            raise Unavailable("No SVIDs are issued here.")
        return self._mint

    def _checks(self) -> Possession:
        if self._possession is None:
            raise Unavailable(
                "Certificates let nobody in here.",
                hint="An operator sets [attestation.x509pop] ca in midflight.toml.",
            )
        return self._possession

    def _check_challenge(self, challenge: str, now: float) -> int:
        body, _, mac = challenge.rpartition(".")
        ends = body.partition(".")[0]
        good = len(challenge) <= MAX_CHALLENGE and challenge.isascii()
        if not good or not hmac.compare_digest(mac, self._mac(body)) or not ends.isdigit():
            raise Unauthenticated("This is no challenge of this plane.", hint="Ask for one.")
        if int(ends) <= now:
            raise Unauthenticated("The challenge is over.", hint="Ask for a new one.")
        return int(ends)

    def _mac(self, body: str) -> str:
        return hmac.new(self._key, body.encode(), hashlib.sha256).hexdigest()


__all__ = ["CHALLENGE_S", "Challenge", "Joining"]
