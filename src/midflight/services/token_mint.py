"""The mint of access tokens: the only place that makes them, each on record before it is out.

Bytes are written by what is handed in as `proofs`, keys are held by the signer. Above:
`identity.py`, and through it operators' verbs and the authorization server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from midflight.domain.errors import Conflict, Malformed, NotFound
from midflight.domain.identity import Author
from midflight.domain.records import Changed, Issued
from midflight.domain.run import RunState
from midflight.domain.value import Value
from midflight.services.ports.clock import Clock
from midflight.services.ports.keys import TokenSigner
from midflight.services.ports.proofs import Proofs
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.store import Store

MIN_TTL_S = 300
MAX_TTL_S = 900
DEFAULT_TTL_S = 600


class MintedToken(Value):
    """A new access token. Its repr shows its id, never the token.

    Attributes:
        token: the compact JWS, handed out once and kept nowhere.
        jti: its id, by which it is recorded and can be revoked.
        expires_at: Unix seconds.
    """

    token: str
    jti: str
    expires_at: int

    def __repr__(self) -> str:
        return f"MintedToken(jti={self.jti!r}, expires_at={self.expires_at!r})"

    def __rich_repr__(self) -> Any:
        yield "jti", self.jti
        yield "expires_at", self.expires_at


class Given(Value):
    """What an authorization server says of a token besides (`mint`).

    Attributes:
        client: the `client_id` that gets it; None for an operator's token.
        scope: what it is narrowed to; None for no narrowing.
        actors: who acts for the workload, the one that acts first (RFC 8693 §4.1).
        certificate: `x5t#S256` of the certificate that it is bound to, or None.
        until: Unix seconds that it must not outlive, or None.
        details: what the record keeps of what it was made from.
    """

    client: str | None = None
    scope: tuple[str, ...] | None = None
    actors: tuple[str, ...] = ()
    certificate: str | None = None
    until: int | None = None
    details: Mapping[str, str] = {}


class TokenMint:
    """See the module."""

    def __init__(
        self,
        *,
        store: Store,
        signer: TokenSigner,
        clock: Clock,
        recorder: Recorder,
        proofs: Proofs,
        issuer: str,
        resource: str,
        prove: Callable[[str], None],
    ) -> None:
        """Shares its parts with `Identity`, which says what they are.

        `prove` is the door that the token will come to, told of it before anybody has it.
        """
        self._store = store
        self._signer = signer
        self._clock = clock
        self._recorder = recorder
        self._proofs = proofs
        self._issuer = issuer
        self._resource = resource
        self._prove = prove

    async def mint(
        self,
        *,
        workload: str,
        author: Author,
        run: str | None = None,
        ttl_s: int = DEFAULT_TTL_S,
        jkt: str | None = None,
        given: Given | None = None,
    ) -> MintedToken:
        """Make an access token for a registered workload, recorded before it is handed out.

        Args:
            workload: SPIFFE ID of a registered, enabled workload.
            author: who asks.
            run: an open run of that workload, or None: then actions open an implicit run.
            ttl_s: 300 to 900 seconds.
            jkt: RFC 7638 thumbprint of the key that the token is bound to, or None.
            given: what an authorization server says besides; None for an operator's token.

        Raises:
            Malformed: `ttl_s` or `jkt` out of form.
            NotFound: no such workload or run.
            Conflict: the workload is disabled, or the run is over or another workload's.
            LedgerUnavailable: it cannot be recorded, so it is not handed out.
            Unavailable: it cannot be signed, or what was signed does not verify.
        """
        if not MIN_TTL_S <= ttl_s <= MAX_TTL_S:
            raise Malformed(
                f"A token lives {MIN_TTL_S} to {MAX_TTL_S} seconds.",
                hint="Ask for a new one before it ends instead of a longer one.",
            )
        if jkt is not None and not self._proofs.is_thumbprint(jkt):
            raise Malformed(
                "jkt is not an RFC 7638 SHA-256 thumbprint.", hint="43 characters of base64url."
            )
        await self._check_subject(workload, run)
        issued_at = int(self._clock.now())
        given = given or Given()
        if given.until is not None:
            # Less than the least of an operator's: what is derived ends with what it came from.
            ttl_s = min(ttl_s, given.until - issued_at)
            if ttl_s <= 0:
                raise Conflict("What the token would be made from has ended.")
        jti = f"tok_{self._clock.token()}"
        header, claims = self._proofs.access_claims(
            issuer=self._issuer,
            resource=self._resource,
            workload=workload,
            token=jti,
            issued_at=issued_at,
            lifetime_s=ttl_s,
            run=run,
            thumbprint=jkt,
            certificate=given.certificate,
            client=given.client,
            scope=given.scope,
            actors=given.actors,
        )
        token = await self._signer.mint(header, claims)
        self._prove(token)
        expires_at = issued_at + ttl_s
        record: Changed | Issued = Changed(
            at=self._clock.now(),
            what=f"token.mint {workload}",
            author=author.name,
            proof=author.proof,
            details={"jti": jti, "run": run, "exp": expires_at, "jkt": jkt},
        )
        if given.client is not None:
            record = Issued(
                at=self._clock.now(),
                what="access-token",
                id=jti,
                subject=workload,
                run=run,
                expires_at=expires_at,
                proof=author.proof,
                details={
                    **given.details,
                    "audience": self._resource,
                    "client": given.client,
                    "by": author.name,
                    "scope": None if given.scope is None else list(given.scope),
                    "actors": list(given.actors),
                    "jkt": jkt,
                    "x5t#S256": given.certificate,
                },
            )
        ticket = self._recorder.append(record)
        await ticket.durable()
        return MintedToken(token=token, jti=jti, expires_at=expires_at)

    async def _check_subject(self, workload: str, run: str | None) -> None:
        registered = await self._store.get_workload(workload)
        if registered is None:
            raise NotFound(
                f"There is no workload {workload}.", hint="Register it: midflight workload add."
            )
        if registered.disabled:
            raise Conflict(f"Workload {workload} is disabled.", hint="midflight workload enable.")
        if run is None:
            return
        stored = await self._store.get_run(run)
        if stored is None or stored.run.workload != workload:
            raise NotFound(f"Workload {workload} has no run {run}.", hint="midflight run list.")
        if stored.state is not RunState.OPEN:
            raise Conflict(f"Run {run} has ended ({stored.state.value}).", hint="Open a new one.")


__all__ = ["DEFAULT_TTL_S", "MAX_TTL_S", "MIN_TTL_S", "Given", "MintedToken", "TokenMint"]
