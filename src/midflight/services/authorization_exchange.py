"""Token exchange (RFC 8693): from what proves somebody to a token for a run, and only less.

    SVID, CI token                a run is opened for its workload, as policy permits (`open_run`)
    SVID of a launched program    the run that it was launched for, and no other
    ID token, and a client        a run of the client's workload, opened by that person
    access token of a run         the same run, narrower; with `task`, a child run (`delegate`)
      + actor token of another    a child run of the other's workload, bound to the other's key
    for a transaction token       `transaction_tokens.py`, where that experiment is on

`sub` is the workload that acts and is judged; `act` is the client that acts for it where that is
another (§4.1), before those that were there. What is issued is bound to a key or a certificate,
ends with the token it came from, and has no more scope than subject and client both have.
"""

from __future__ import annotations

from collections.abc import Mapping

from midflight.domain.authorization import AuthorizationRefused, Refusal
from midflight.domain.identity import MAX_ACTORS, Author
from midflight.domain.scopes import narrowing
from midflight.domain.value import JSONObject, Value
from midflight.services.authorization_clients import AuthorizationRequest, Clients, Known
from midflight.services.authorization_subjects import (
    ACCESS_TOKEN,
    JWT,
    Subjects,
    check_launched,
    check_possession,
)
from midflight.services.authorization_tokens import AuthorizedTokens, Bound
from midflight.services.delegation import MAX_TEXT, Delegation
from midflight.services.inventory import Inventory
from midflight.services.openers import BY_JOB, BY_OAUTH
from midflight.services.ports.authorization_proofs import AuthorizationProofs, Subject
from midflight.services.runs import Runs
from midflight.services.transaction_tokens import TRANSACTION_TOKEN, TransactionTokens

_PARAMETERS = ("subject_token", "subject_token_type")


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
        subjects: Subjects,
        runs: Runs,
        delegation: Delegation,
        inventory: Inventory,
        proofs: AuthorizationProofs,
        transactions: TransactionTokens | None = None,
    ) -> None:
        """Shares its parts with the rest of the server; without `transactions` none are made."""
        self._clients = clients
        self._tokens = tokens
        self._subjects = subjects
        self._runs = runs
        self._delegation = delegation
        self._inventory = inventory
        self._proofs = proofs
        self._transactions = transactions

    async def exchange(self, request: AuthorizationRequest) -> JSONObject:
        """The token response of RFC 8693 §2.2.1.

        Raises:
            AuthorizationRefused: and everything that opening or delegating a run may raise.
        """
        form = request.form
        if form.get("requested_token_type") == TRANSACTION_TOKEN:
            if self._transactions is None:
                raise AuthorizationRefused(
                    Refusal.INVALID_REQUEST,
                    "Transaction tokens are not issued here.",
                    hint="They are experimental; an operator sets [oauth] experimental = true.",
                )
            return await self._transactions.exchange(request)
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
        subject = await self._subjects.of(form["subject_token"], form["subject_token_type"])
        check_possession(subject, bound)
        workload = subject.workload
        if workload is None:
            # A person acts through a client, and only through one that has proved to be it.
            if client is None or not client.proved:
                raise AuthorizationRefused(
                    Refusal.INVALID_CLIENT, "A person's token is exchanged by a proved client only."
                )
            workload = client.workload
        check_launched(client, subject.run)
        actor = await self._actor(form, subject)
        _check_acting(client, workload if actor is None else actor.workload)
        held = [subject.scope, None if client is None else client.scope]
        capped = [subject.expires_at] if subject.capped else []
        if actor is not None:
            bound = self._handed_to(form, bound)
            check_possession(actor, bound)
            held.append(actor.scope)
            capped += [actor.expires_at] if actor.capped else []
        scope = self._tokens.scope(form, *held)
        # Before anything is spent or opened: nothing of a revoked workload begins.
        acting = subject.actors if client is None else (client.workload, *subject.actors)
        for_whom = workload if actor is None else actor.workload or ""
        await self._tokens.check_standing(for_whom, actors=acting)
        await self._subjects.spend(subject)
        if actor is not None:
            await self._subjects.spend(actor)
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

    async def _actor(self, form: Mapping[str, str], subject: Subject) -> Subject | None:
        if "actor_token" not in form:
            return None
        if subject.run is None:
            raise AuthorizationRefused(
                Refusal.INVALID_REQUEST, "Only what has a run can be handed on to an actor."
            )
        actor = await self._subjects.of(form["actor_token"], form["actor_token_type"])
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


__all__ = ["Exchange"]
