"""Subject tokens: what proves somebody at a token exchange (RFC 8693 §2.1), by kind.

    access token of ours    OwnTokens      a workload in its run
    JWT-SVID                SvidTokens     a workload
    token of a CI job       JobTokens      a workload in the job's one run
    ID token                PersonTokens   a person, who acts through a client

Each kind says whom its token is of, or that it is no token of that kind. What is made from one is
for those above: `authorization_exchange.py`, `transaction_tokens.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from midflight.domain.authorization import AuthorizationRefused, Refusal
from midflight.domain.errors import Unauthenticated
from midflight.services.authorization_clients import Known
from midflight.services.authorization_tokens import AuthorizedTokens, Bound
from midflight.services.identity import Identity
from midflight.services.job_federation import JobFederation
from midflight.services.job_runs import JobRuns, author_of
from midflight.services.ports.authorization_proofs import (
    AuthorizationProofs,
    Subject,
    SubjectTokens,
    Svids,
)
from midflight.services.ports.clock import Clock
from midflight.services.ports.login import LoginProvider
from midflight.services.ports.store import Store

ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 -- the name of a type
JWT = "urn:ietf:params:oauth:token-type:jwt"
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"  # noqa: S105 -- the name of a type


class OwnTokens:
    """Access tokens of this server as subject tokens. Revoked ones are none."""

    def __init__(self, *, identity: Identity, tokens: AuthorizedTokens) -> None:
        self._identity = identity
        self._tokens = tokens

    async def resolve(self, token: str, kind: str, *, now: float) -> Subject | None:
        """See `SubjectTokens`."""
        del now
        if kind != ACCESS_TOKEN:
            return None
        claims = self._identity.read(token)
        if not await self._tokens.active(claims):
            raise Unauthenticated("The access token is revoked, or its run has ended.")
        return Subject(
            workload=claims.workload,
            name=claims.workload,
            proof="access-token",
            expires_at=claims.expires_at,
            scope=claims.scope,
            run=claims.run,
            actors=claims.actors,
            thumbprint=claims.thumbprint,
            certificate=claims.certificate,
            token=claims.token,
            capped=True,
        )


class SvidTokens:
    """JWT-SVIDs as subject tokens, each once."""

    def __init__(self, *, svids: Svids, proofs: AuthorizationProofs, issuer: str) -> None:
        self._svids = svids
        self._proofs = proofs
        self._issuer = issuer

    async def resolve(self, token: str, kind: str, *, now: float) -> Subject | None:
        """See `SubjectTokens`."""
        if kind != JWT or not self._proofs.subject_of(token).startswith("spiffe://"):
            return None
        svid = self._svids.of_token(token, audience=self._issuer, now=now)
        return Subject(
            workload=svid.spiffe_id,
            name=svid.spiffe_id,
            proof="jwt-svid",
            expires_at=svid.expires_at,
            run=svid.run,
            spend=("svid", svid.id, svid.expires_at + 60),
        )


class JobTokens:
    """Tokens of CI jobs as subject tokens, each once: the job's one run, as its rule says."""

    def __init__(self, *, federation: JobFederation, runs: JobRuns) -> None:
        self._federation = federation
        self._runs = runs

    async def resolve(self, token: str, kind: str, *, now: float) -> Subject | None:
        """See `SubjectTokens`. The token is spent, and the job's run opened or joined."""
        del now
        if kind not in {JWT, ID_TOKEN} or not self._federation.knows(token):
            return None
        job = await self._federation.admit(token)
        run = await self._runs.join(job)
        opener = author_of(job)
        return Subject(
            workload=job.workload,
            name=opener.name,
            proof=opener.proof,
            expires_at=job.expires_at,
            run=run.id,
            capped=True,
            details={"job": job.job, **job.claims},
        )


class PersonTokens:
    """ID tokens of the login provider as subject tokens, each once: a person, not a workload."""

    def __init__(self, provider: LoginProvider) -> None:
        self._provider = provider

    async def resolve(self, token: str, kind: str, *, now: float) -> Subject | None:
        """See `SubjectTokens`."""
        del now
        if kind != ID_TOKEN:
            return None
        person, key, until = await self._provider.person_of(token)
        return Subject(
            workload=None,
            name=person.name,
            proof=person.proof,
            expires_at=until,
            spend=("id-token", key, until + 60),
            may_state_intent=True,
        )


class Subjects:
    """All kinds that are taken, and the single use of those that are good once."""

    def __init__(self, kinds: Sequence[SubjectTokens], *, store: Store, clock: Clock) -> None:
        """`kinds` are asked in order; the first that knows a token answers for it."""
        self._kinds = kinds
        self._store = store
        self._clock = clock

    async def of(self, token: str, kind: str) -> Subject:
        """Whom a token of that type is of.

        Raises:
            AuthorizationRefused: `invalid_request` (RFC 8693 §2.2.2), for all that does not hold.
        """
        now = self._clock.now()
        try:
            for each in self._kinds:
                found = await each.resolve(token, kind, now=now)
                if found is not None:
                    return found
        except Unauthenticated as error:
            raise AuthorizationRefused(
                Refusal.INVALID_REQUEST, error.message, hint=error.hint
            ) from None
        raise AuthorizationRefused(
            Refusal.INVALID_REQUEST,
            "Tokens of that type or issuer are not taken here.",
            hint="An access token of ours, a JWT-SVID, an ID token, a token of a trusted CI.",
        )

    async def spend(self, subject: Subject) -> None:
        """Use up a token that is good once. `AuthorizationRefused` if it was used before."""
        if subject.spend is None:
            return
        purpose, key, until = subject.spend
        if not await self._store.use_once(purpose, key, until=until, now=int(self._clock.now())):
            raise AuthorizationRefused(
                Refusal.INVALID_REQUEST,
                "The token has been used before.",
                hint="Get a fresh one for each exchange.",
            )


def check_possession(subject: Subject, bound: Bound) -> None:
    """A bound token is exchanged with its key only: else a thief would bind it to his own."""
    matches = subject.thumbprint in {None, bound.jkt} and subject.certificate in {None, bound.x5t}
    if not matches:
        raise AuthorizationRefused(
            Refusal.INVALID_DPOP_PROOF,
            "The token is bound to another key than was proved.",
            hint="Prove the key that it is bound to, or hand on to that of the actor (dpop_jkt).",
        )


def check_launched(client: Known | None, run: str | None) -> None:
    """Who was launched for a run gets tokens of that run alone."""
    if client is not None and client.run is not None and run != client.run:
        raise AuthorizationRefused(
            Refusal.UNAUTHORIZED_CLIENT,
            "The client was launched for a run, and acts in no other.",
            hint="Exchange an SVID of that same program.",
        )


__all__ = [
    "ACCESS_TOKEN",
    "ID_TOKEN",
    "JWT",
    "JobTokens",
    "OwnTokens",
    "PersonTokens",
    "Subjects",
    "SvidTokens",
    "check_launched",
    "check_possession",
]
