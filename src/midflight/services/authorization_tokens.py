"""Tokens of the authorization server: making, looking at, taking back.

`issue` is the only way to a token here, and `services/identity.py` makes it. What is looked at is
looked at now: a token of a revoked run, workload or owner is not active, whatever its text says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from midflight.domain.authorization import AuthorizationRefused, Refusal
from midflight.domain.errors import Forbidden, Interrupted, Unauthenticated
from midflight.domain.identity import Author, Caller
from midflight.domain.revocation import Scope, ScopeKind, scopes_over
from midflight.domain.run import Run, RunState
from midflight.domain.scopes import EVERYTHING, Scopes, beyond, meet, scopes_of
from midflight.domain.value import Discreet, JSONObject, Value
from midflight.services.authorization_clients import AuthorizationRequest, Known
from midflight.services.identity import Identity
from midflight.services.interruption import Interruption
from midflight.services.inventory import Inventory
from midflight.services.job_runs import JobRuns
from midflight.services.openers import BY_OAUTH
from midflight.services.ports.authorization_proofs import AuthorizationProofs
from midflight.services.ports.clock import Clock
from midflight.services.ports.proofs import TokenClaims
from midflight.services.ports.store import Store
from midflight.services.receipts import refusal
from midflight.services.token_mint import Given

PROOF_PURPOSE = "dpop"
"""The same as of proofs at the resource: a proof that was used at the one is none at the other."""


class Bound(Value):
    """What a token is to be bound to; neither for a bearer token."""

    jkt: str | None = None
    x5t: str | None = None

    def __bool__(self) -> bool:
        return self.jkt is not None or self.x5t is not None


class Issued(Discreet):
    """A new access token. `answer` is the token response (RFC 6749 §5.1)."""

    shown = ("jti",)

    jti: str
    expires_at: int
    answer: JSONObject


class AuthorizedTokens:
    """See the module."""

    def __init__(
        self,
        *,
        identity: Identity,
        interruption: Interruption,
        inventory: Inventory,
        store: Store,
        clock: Clock,
        proofs: AuthorizationProofs,
        resource: str,
        issuer: str,
        ttl_s: int,
        job_runs: JobRuns,
    ) -> None:
        """`resource` is the one that tokens are for; `ttl_s` how long they live at most."""
        self._identity = identity
        self._interruption = interruption
        self._inventory = inventory
        self._store = store
        self._clock = clock
        self._proofs = proofs
        self._resource = resource
        self._issuer = issuer
        self._ttl_s = ttl_s
        self._job_runs = job_runs

    # For the grants

    async def bound(self, request: AuthorizationRequest) -> Bound:
        """What the request proves a key of; the proof is spent.

        Raises:
            AuthorizationRefused: `invalid_dpop_proof`.
        """
        if not request.dpop:
            return Bound(x5t=request.x5t)
        if len(request.dpop) != 1:
            raise AuthorizationRefused(
                Refusal.INVALID_DPOP_PROOF, "There is more than one DPoP header."
            )
        try:
            proof = self._proofs.verify_key_proof(
                request.dpop[0], method="POST", url=request.url, now=self._clock.now()
            )
        except Unauthenticated as error:
            raise AuthorizationRefused(
                Refusal.INVALID_DPOP_PROOF, error.message, hint=error.hint
            ) from None
        fresh = await self._store.use_once(
            PROOF_PURPOSE, proof.replay_key, until=proof.until, now=int(self._clock.now())
        )
        if not fresh:
            raise AuthorizationRefused(
                Refusal.INVALID_DPOP_PROOF, "The DPoP proof has been used before."
            )
        return Bound(jkt=proof.thumbprint)

    def check_target(self, form: Mapping[str, str]) -> None:
        """`invalid_target` unless every resource and audience that is named is ours (RFC 8707)."""
        for name in ("resource", "audience"):
            if form.get(name, self._resource) != self._resource:
                raise AuthorizationRefused(
                    Refusal.INVALID_TARGET,
                    "Tokens are issued here for one resource, and that is another.",
                    hint=f"The resource is {self._resource}.",
                )

    def scope(self, form: Mapping[str, str], *held: Scopes | None) -> Scopes:
        """What is asked for, if all of `held` have it; without asking, what they all have.

        Raises:
            AuthorizationRefused: `invalid_scope`.
        """
        have: Scopes | None = None
        for one in held:
            have = meet(have, one) if one is not None or have is not None else None
        if "scope" in form:
            try:
                asked = scopes_of(form["scope"])
            except ValueError as error:
                raise AuthorizationRefused(
                    Refusal.INVALID_SCOPE,
                    f"The scope cannot be had: {error}.",
                    hint="mcp, mcp:<upstream>, mcp:<upstream>/<tool>, effect:<effect>, ssf.<verb>.",
                ) from None
            excess = beyond(have, asked)
            if excess:
                raise AuthorizationRefused(
                    Refusal.INVALID_SCOPE,
                    f"More is asked for than there is to give: {' '.join(excess)}.",
                    hint="A token only narrows what it is made from.",
                )
            return asked
        if have == ():
            raise AuthorizationRefused(
                Refusal.INVALID_SCOPE, "Client and subject have nothing in common."
            )
        return have or (EVERYTHING,)

    async def issue(
        self,
        *,
        workload: str,
        run: str | None,
        client: str,
        author: Author,
        scope: Scopes,
        bound: Bound,
        actors: tuple[str, ...] = (),
        until: int | None = None,
        details: Mapping[str, str] | None = None,
        what: str = "access-token",
    ) -> Issued:
        """Make a token; `what` is what its record calls it.

        Raises as `Identity.mint`, and as `check_standing`.
        """
        await self.check_standing(workload, run, actors=actors)
        minted = await self._identity.mint(
            workload=workload,
            author=author,
            run=run,
            ttl_s=self._ttl_s,
            jkt=bound.jkt,
            given=Given(
                client=client,
                scope=scope,
                actors=actors,
                certificate=bound.x5t,
                until=until,
                details=details or {},
                what=what,
            ),
        )
        answer: JSONObject = {
            "access_token": minted.token,
            "token_type": "DPoP" if bound.jkt is not None else "Bearer",
            "expires_in": max(1, minted.expires_at - int(self._clock.now())),
            "scope": " ".join(scope),
        }
        return Issued(jti=minted.jti, expires_at=minted.expires_at, answer=answer)

    async def check_standing(
        self, workload: str, run: str | None = None, *, actors: tuple[str, ...] = ()
    ) -> None:
        """Whether a token of this workload could be good for anything now.

        `actors` are SPIFFE IDs of whoever else acts, of whom none may be revoked.

        Raises:
            Forbidden: the workload, or one of `actors` that is registered, is not in good standing.
            Interrupted: one of them, its owner, its trust domain or the run is revoked.
        """
        stored = None if run is None else await self._store.get_run(run)
        above = () if stored is None else await self._above(stored.run)
        runs = (run,) if stored is None else stored.run.lineage
        self._check(workload, runs, actors=actors, above=above)

    async def _above(self, run: Run) -> Sequence[str]:
        """The workloads of the runs that a run descends from: its work is theirs, handed on."""
        found: list[str] = []
        for name in run.ancestors:
            parent = await self._store.get_run(name)
            if parent is not None:
                found.append(parent.run.workload)
        return found

    def _check(
        self,
        workload: str,
        runs: Sequence[str | None],
        *,
        actors: tuple[str, ...],
        above: Sequence[str],
        token: str = "",
    ) -> None:
        """`check_standing`, at this moment."""
        now = self._clock.now()
        who = Caller(
            workload=workload, run=None, token=token, proof="", expires_at=int(now), actors=actors
        )
        known, why = self._inventory.current(workload), self._inventory.standing_of(who, now)
        if known is None or why is not None:
            raise Forbidden(why or "The workload is not registered.")
        revocation = self._interruption.covering(self._scopes(who, runs, above))
        if revocation is not None:
            raise refusal(revocation)

    def _scopes(
        self, who: Caller, runs: Sequence[str | None], above: Sequence[str]
    ) -> list[tuple[ScopeKind, str]]:
        """Every scope whose revocation takes a token of this caller."""
        known = self._inventory.current(who.workload)
        owner = None if known is None else known.owner
        scopes = scopes_over(who.workload, owner=owner, runs=runs, token=who.token)
        return [*scopes, *self._inventory.revoked_with((*who.acting, *above))]

    async def scopes_of(self, caller: Caller) -> frozenset[tuple[ScopeKind, str]]:
        """Every scope whose revocation ends what a caller with a token does."""
        stored = None if caller.run is None else await self._store.get_run(caller.run)
        runs: Sequence[str | None] = (caller.run,) if stored is None else stored.run.lineage
        above = () if stored is None else await self._above(stored.run)
        return frozenset(self._scopes(caller, runs, above))

    # For whoever holds one

    async def introspect(self, token: str, client: Known) -> JSONObject:
        """RFC 7662 §2.2: what a token of this client is now. Others' are inactive to it."""
        try:
            claims = self._identity.read(token)
        except Unauthenticated:
            return {"active": False}
        mine = client.id == claims.client or client.workload == claims.workload
        if not mine or not await self.active(claims):
            return {"active": False}
        confirmation: JSONObject = {"jkt": claims.thumbprint, "x5t#S256": claims.certificate}
        confirmation = {name: value for name, value in confirmation.items() if value is not None}
        found: JSONObject = {
            "active": True,
            "iss": self._issuer,
            "sub": claims.workload,
            "aud": self._resource,
            "client_id": claims.client,
            "jti": claims.token,
            "iat": claims.issued_at,
            "exp": claims.expires_at,
            "token_type": "DPoP" if claims.thumbprint is not None else "Bearer",
        }
        if claims.scope is not None:
            found["scope"] = " ".join(claims.scope)
        if claims.run is not None:
            found["txn"] = claims.run
        if confirmation:
            found["cnf"] = confirmation
        chain: JSONObject | None = None
        for actor in reversed(claims.actors):
            chain = {"sub": actor} if chain is None else {"sub": actor, "act": chain}
        if chain is not None:
            found["act"] = chain
        return found

    async def active(self, claims: TokenClaims) -> bool:
        """Whether a token that verified is good for anything at this moment."""
        return await self.stands(
            claims.workload, run=claims.run, token=claims.token, actors=claims.actors
        )

    async def stands(
        self,
        workload: str,
        *,
        run: str | None = None,
        token: str = "",
        actors: tuple[str, ...] = (),
    ) -> bool:
        """Whether a workload is in good standing, its run is open, and nothing is revoked.

        `actors` as for `check_standing`.
        """
        runs: Sequence[str] = ()
        above: Sequence[str] = ()
        if run is not None:
            stored = await self._store.get_run(run)
            if stored is None or stored.state is not RunState.OPEN:
                return False
            if stored.run.expires_at <= self._clock.now():
                return False
            runs, above = stored.run.lineage, await self._above(stored.run)
        try:
            self._check(workload, runs, actors=actors, above=above, token=token)
        except (Forbidden, Interrupted):
            return False
        return True

    async def revoke(self, token: str, client: Known) -> bool:
        """RFC 7009 for an access token: False if it is none. Durable when this returns.

        A token of a CI job takes the job's run with it, as `POST /ci/end` does.

        Raises:
            AuthorizationRefused: it is another client's (§2.1), or could not be made durable.
        """
        try:
            claims = self._identity.read(token)
        except Unauthenticated:
            return False
        if client.id != claims.client:
            raise AuthorizationRefused(
                Refusal.INVALID_GRANT, "The token was issued to another client."
            )
        await self.take_back(
            claims.token,
            author=Author(name=client.id, proof=BY_OAUTH + client.method),
            until=claims.expires_at,
            reason="revoked by its client",
        )
        if claims.run is not None:
            await self._job_runs.end(claims.run, workload=claims.workload)
        return True

    async def take_back(self, jti: str, *, author: Author, until: int | None, reason: str) -> None:
        """Revoke one token, cutting what it does. Twice is as good as once."""
        receipt = await self._interruption.revoke(
            Scope(kind=ScopeKind.TOKEN, id=jti),
            reason=reason,
            author=author,
            # Beyond the leeway of every reader the token itself is over.
            until=None if until is None else until + 120,
        )
        if not receipt.durable:
            raise AuthorizationRefused(
                Refusal.TEMPORARILY_UNAVAILABLE,
                "It is revoked in this process and not durably yet.",
                hint="Revoke it again.",
            )


__all__ = ["AuthorizedTokens", "Bound", "Issued"]
