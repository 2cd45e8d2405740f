"""Token exchange (RFC 8693): from what proves somebody to a token for a run, and only less.

    SVID, CI token                a run is opened for its workload, as policy permits (`open_run`)
    SVID of a launched program    the run that it was launched for, and no other
    ID token, and a client        a run of the client's workload, opened by that person
    access token of a run         the same run, narrower; with `task`, a child run (`delegate`)
      + actor token of another    a child run of the other's workload, bound to the other's key

`sub` is the workload that acts and is judged; `act` is the client that acts for it where that is
another (§4.1), before those that were there. What is issued is bound to a key or a certificate,
ends with the token it came from, and has no more scope than subject and client both have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from midflight.domain.authorization import AuthorizationRefused, Refusal
from midflight.domain.errors import Unauthenticated
from midflight.domain.identity import Author
from midflight.domain.scopes import narrowing
from midflight.domain.value import JSONObject, Value
from midflight.services.authorization_clients import AuthorizationRequest, Clients, Known
from midflight.services.authorization_tokens import AuthorizedTokens, Bound
from midflight.services.delegation import MAX_TEXT, Delegation
from midflight.services.identity import Identity
from midflight.services.inventory import Inventory
from midflight.services.job_federation import JobFederation
from midflight.services.job_runs import JobRuns, author_of
from midflight.services.openers import BY_JOB, BY_OAUTH
from midflight.services.ports.authorization_proofs import (
    AuthorizationProofs,
    Subject,
    SubjectTokens,
    Svids,
)
from midflight.services.ports.clock import Clock
from midflight.services.ports.login import LoginProvider
from midflight.services.ports.store import Store
from midflight.services.runs import Runs

ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 -- the name of a type
JWT = "urn:ietf:params:oauth:token-type:jwt"
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"  # noqa: S105 -- the name of a type
MAX_ACTORS = 4

_PARAMETERS = ("subject_token", "subject_token_type")


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


class _Run(Value):
    """Where the new token acts."""

    id: str
    workload: str


class Exchange:
    """See the module."""

    def __init__(
        self,
        *,
        clients: Clients,
        tokens: AuthorizedTokens,
        subjects: Sequence[SubjectTokens],
        runs: Runs,
        delegation: Delegation,
        inventory: Inventory,
        store: Store,
        clock: Clock,
        proofs: AuthorizationProofs,
    ) -> None:
        """`subjects` are asked in order; the first that knows a token answers for it."""
        self._clients = clients
        self._tokens = tokens
        self._subjects = subjects
        self._runs = runs
        self._delegation = delegation
        self._inventory = inventory
        self._store = store
        self._clock = clock
        self._proofs = proofs

    async def exchange(self, request: AuthorizationRequest) -> JSONObject:
        """The token response of RFC 8693 §2.2.1.

        Raises:
            AuthorizationRefused: and everything that opening or delegating a run may raise.
        """
        form = request.form
        _check_form(form)
        self._tokens.check_target(form)
        client = await self._clients.presented(request)
        bound = await self._tokens.bound(request)
        if not bound:
            raise AuthorizationRefused(
                Refusal.INVALID_REQUEST,
                "An exchanged token is always bound to a key or a certificate.",
                hint="Send a DPoP proof (RFC 9449 §5), or connect with a certificate (RFC 8705).",
            )
        subject = await self._subject(form["subject_token"], form["subject_token_type"])
        _check_possession(subject, bound)
        workload = subject.workload
        if workload is None:
            # A person acts through a client, and only through one that has proved to be it.
            if client is None or not client.proved:
                raise AuthorizationRefused(
                    Refusal.INVALID_CLIENT, "A person's token is exchanged by a proved client only."
                )
            workload = client.workload
        if client is not None and client.run is not None and subject.run != client.run:
            raise AuthorizationRefused(
                Refusal.UNAUTHORIZED_CLIENT,
                "The client was launched for a run, and acts in no other.",
                hint="Exchange an SVID of that same program.",
            )
        actor = await self._actor(form, subject)
        _check_acting(client, workload if actor is None else actor.workload)
        held = [subject.scope, None if client is None else client.scope]
        capped = [subject.expires_at] if subject.capped else []
        if actor is not None:
            bound = self._handed_to(form, bound)
            _check_possession(actor, bound)
            held.append(actor.scope)
            capped += [actor.expires_at] if actor.capped else []
        scope = self._tokens.scope(form, *held)
        # Before anything is spent or opened: nothing of a revoked workload begins.
        acting = subject.actors if client is None else (client.workload, *subject.actors)
        for_whom = workload if actor is None else actor.workload or ""
        await self._tokens.check_standing(for_whom, actors=acting)
        await self._spend(subject)
        if actor is not None:
            await self._spend(actor)
        run = await self._run(form, subject, workload=workload, client=client, actor=actor)
        actors = subject.actors if run.workload == workload else ()
        if client is not None and client.workload != run.workload:
            actors = (client.workload, *actors)
        if len(actors) > MAX_ACTORS:
            raise AuthorizationRefused(
                Refusal.INVALID_REQUEST, f"The chain of actors is {MAX_ACTORS} long already."
            )
        issued = await self._tokens.issue(
            workload=run.workload,
            run=run.id,
            client=run.workload if client is None else client.id,
            author=Author(name=subject.name, proof=_proof(subject)),
            scope=scope,
            bound=bound,
            actors=actors,
            until=min(capped, default=None),
            details=subject.details,
        )
        return {**issued.answer, "issued_token_type": ACCESS_TOKEN}

    # Inside

    async def _subject(self, token: str, kind: str) -> Subject:
        now = self._clock.now()
        try:
            for each in self._subjects:
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

    async def _actor(self, form: Mapping[str, str], subject: Subject) -> Subject | None:
        if "actor_token" not in form:
            return None
        if subject.run is None:
            raise AuthorizationRefused(
                Refusal.INVALID_REQUEST, "Only what has a run can be handed on to an actor."
            )
        actor = await self._subject(form["actor_token"], form["actor_token_type"])
        if actor.workload is None:
            raise AuthorizationRefused(
                Refusal.INVALID_REQUEST, "The actor token is no identity of a workload."
            )
        if actor.run is not None:
            raise AuthorizationRefused(
                Refusal.INVALID_REQUEST, "The actor has a run already, and acts in no other."
            )
        return actor

    def _handed_to(self, form: Mapping[str, str], bound: Bound) -> Bound:
        """The key of the actor, who gets the token; the delegator's own without `dpop_jkt`."""
        jkt = form.get("dpop_jkt")
        if jkt is None:
            return bound
        if not self._proofs.is_thumbprint(jkt):
            raise AuthorizationRefused(Refusal.INVALID_REQUEST, "dpop_jkt is no thumbprint.")
        return Bound(jkt=jkt)

    async def _spend(self, subject: Subject) -> None:
        if subject.spend is None:
            return
        purpose, key, until = subject.spend
        if not await self._store.use_once(purpose, key, until=until, now=int(self._clock.now())):
            raise AuthorizationRefused(
                Refusal.INVALID_REQUEST,
                "The token has been used before.",
                hint="Get a fresh one for each exchange.",
            )

    async def _run(
        self,
        form: Mapping[str, str],
        subject: Subject,
        *,
        workload: str,
        client: Known | None,
        actor: Subject | None,
    ) -> _Run:
        task = form.get("task")
        if subject.run is not None:
            if "intent" in form:
                raise AuthorizationRefused(
                    Refusal.UNAUTHORIZED_CLIENT, "The run is there already, and has its intent."
                )
            if actor is None and task is None:
                return _Run(id=subject.run, workload=workload)
            return await self._child(form, subject, actor=actor)
        if task is not None:
            raise AuthorizationRefused(
                Refusal.INVALID_REQUEST, "A task is for a child run, and there is no parent."
            )
        intent = form.get("intent")
        if intent is not None and not _may_state(subject, client, workload):
            # The agent can neither state nor change what it was asked for.
            raise AuthorizationRefused(
                Refusal.UNAUTHORIZED_CLIENT, "A workload cannot state the intent of its own run."
            )
        if intent is not None and len(intent) > MAX_TEXT:
            raise AuthorizationRefused(Refusal.INVALID_REQUEST, "The intent is too long.")
        opener = _opener(subject, client, workload)
        run = await self._runs.open_run(
            workload=await self._inventory.get(workload), intent=intent, author=opener
        )
        return _Run(id=run.id, workload=workload)

    async def _child(
        self, form: Mapping[str, str], subject: Subject, *, actor: Subject | None
    ) -> _Run:
        assert subject.run is not None
        assert subject.workload is not None
        workload = subject.workload if actor is None else actor.workload
        assert workload is not None
        if "task" not in form:
            raise AuthorizationRefused(
                Refusal.INVALID_REQUEST, "A child run needs its task in words."
            )
        left = narrowing(self._tokens.scope(form, subject.scope))
        run = await self._delegation.delegate(
            subject.run,
            workload=workload,
            text=form["task"],
            author=Author(name=subject.name, proof=_proof(subject)),
            narrowed=left,
        )
        return _Run(id=run.id, workload=workload)


def _check_form(form: Mapping[str, str]) -> None:
    for name in _PARAMETERS:
        if name not in form:
            raise AuthorizationRefused(Refusal.INVALID_REQUEST, f"{name} is missing.")
    if ("actor_token" in form) != ("actor_token_type" in form):
        raise AuthorizationRefused(
            Refusal.INVALID_REQUEST, "actor_token and actor_token_type come together."
        )
    if "dpop_jkt" in form and "actor_token" not in form:
        raise AuthorizationRefused(
            Refusal.INVALID_REQUEST, "dpop_jkt is for handing on to an actor."
        )
    if form.get("requested_token_type", ACCESS_TOKEN) not in {ACCESS_TOKEN, JWT}:
        raise AuthorizationRefused(
            Refusal.INVALID_REQUEST, "Only access tokens are issued for a token."
        )


def _check_acting(client: Known | None, workload: str | None) -> None:
    """Who acts for another workload stands in the token (`act`), so a mere name does not do."""
    if client is not None and not client.proved and client.workload != workload:
        raise AuthorizationRefused(
            Refusal.INVALID_CLIENT,
            "A client that acts for another workload has to prove who it is.",
            hint="Leave client_id out, or authenticate with a key (RFC 7523) or a certificate.",
        )


def _check_possession(subject: Subject, bound: Bound) -> None:
    """A bound token is exchanged with its key only: else a thief would bind it to his own."""
    matches = subject.thumbprint in {None, bound.jkt} and subject.certificate in {None, bound.x5t}
    if not matches:
        raise AuthorizationRefused(
            Refusal.INVALID_DPOP_PROOF,
            "The token is bound to another key than was proved.",
            hint="Prove the key that it is bound to, or hand on to that of the actor (dpop_jkt).",
        )


def _proof(subject: Subject) -> str:
    """How the subject was proved, as policy and records have it."""
    return subject.proof if subject.proof == BY_JOB else BY_OAUTH + subject.proof


def _may_state(subject: Subject, client: Known | None, workload: str) -> bool:
    if subject.may_state_intent:
        return True
    return client is not None and client.proved and client.workload != workload


def _opener(subject: Subject, client: Known | None, workload: str) -> Author:
    """Whoever starts the run: the client that acts for another, else whom the token is of."""
    if client is not None and client.proved and client.workload != workload:
        return Author(name=client.workload, proof=BY_OAUTH + client.method)
    return Author(name=subject.name, proof=_proof(subject))


__all__ = [
    "ACCESS_TOKEN",
    "ID_TOKEN",
    "JWT",
    "Exchange",
    "JobTokens",
    "OwnTokens",
    "PersonTokens",
    "SvidTokens",
]
