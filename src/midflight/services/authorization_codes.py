"""Authorization codes and refresh tokens: what a person gives a client (OAuth 2.1 §4.1, §4.3).

A person's client acts as the workload that it is registered for, in a run that this person opens
when he agrees; so `sub` is that workload, and the person stands in the record of the run. A code
is good once, for a minute, for its client, its redirect URI and its verifier; the second use takes
back all that came of the first. Refresh tokens are bound to a key, or there are none: a stolen one
that anybody could use would outlive every access token.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping

from midflight.domain.authorization import (
    AuthorizationRefused,
    Client,
    Code,
    Grant,
    Person,
    Refresh,
    Refusal,
)
from midflight.domain.errors import Conflict, Forbidden, Interrupted, NotFound
from midflight.domain.identity import Author
from midflight.domain.records import Changed, Observed
from midflight.domain.scopes import Scopes
from midflight.domain.value import Discreet, JSONObject
from midflight.services.authorization_clients import AuthorizationRequest, Clients, Known
from midflight.services.authorization_tokens import AuthorizedTokens, Bound
from midflight.services.delegation import MAX_TEXT
from midflight.services.inventory import Inventory
from midflight.services.openers import BY_OAUTH
from midflight.services.ports.authorization_proofs import AuthorizationProofs
from midflight.services.ports.authorization_store import AuthorizationStore
from midflight.services.ports.clock import Clock
from midflight.services.ports.recorder import Recorder
from midflight.services.runs import Runs

CODE_S = 60
MAX_STATE = 2048


class Asked(Discreet):
    """A request for a code that may be shown to a person; all of it is checked."""

    shown = ("redirect_uri",)

    client: Client
    redirect_uri: str
    challenge: str
    scope: Scopes
    state: str | None = None
    jkt: str | None = None


class SentBack(AuthorizationRefused):
    """A refusal that the client is told by redirect, since client and redirect URI hold."""

    def __init__(
        self, refusal: Refusal, message: str, *, redirect_uri: str, state: str | None
    ) -> None:
        super().__init__(refusal, message)
        self.redirect_uri = redirect_uri
        self.state = state


class Codes:
    """See the module."""

    def __init__(
        self,
        *,
        store: AuthorizationStore,
        clients: Clients,
        tokens: AuthorizedTokens,
        runs: Runs,
        inventory: Inventory,
        recorder: Recorder,
        clock: Clock,
        proofs: AuthorizationProofs,
    ) -> None:
        """Shares its parts with the rest of the server."""
        self._store = store
        self._clients = clients
        self._tokens = tokens
        self._runs = runs
        self._inventory = inventory
        self._recorder = recorder
        self._clock = clock
        self._proofs = proofs

    # The way of a person

    async def ask(self, form: Mapping[str, str]) -> Asked:
        """Check a request for a code (RFC 6749 §4.1.1).

        Raises:
            AuthorizationRefused: client or redirect URI do not hold: nobody is redirected.
            SentBack: something else does not.
        """
        client = await self._clients.find(form.get("client_id", ""))
        if client is None:
            raise AuthorizationRefused(Refusal.INVALID_CLIENT, "The client is not known here.")
        # Always in the request: one that is left out would make what was registered decide.
        redirect_uri = form.get("redirect_uri", "")
        if not self._proofs.allowed(client.redirect_uris, redirect_uri):
            raise AuthorizationRefused(
                Refusal.INVALID_REQUEST, "The redirect URI is not one of this client."
            )
        state = form.get("state")
        jkt = form.get("dpop_jkt")
        wrong = self._wrong(form)
        if wrong is not None:
            state = None if state is None or len(state) > MAX_STATE else state
            raise SentBack(*wrong, redirect_uri=redirect_uri, state=state)
        try:
            self._tokens.check_target(form)
            scope = self._tokens.scope(_without_offline(form), client.scope)
        except AuthorizationRefused as error:
            raise SentBack(
                error.refusal, error.message, redirect_uri=redirect_uri, state=state
            ) from None
        return Asked(
            client=client,
            redirect_uri=redirect_uri,
            challenge=form["code_challenge"],
            scope=scope,
            state=state,
            jkt=jkt,
        )

    async def agreed(self, asked: Asked, person: Person, *, intent: str | None) -> str:
        """A person agrees: his run is opened, and a code for it is made.

        Raises:
            SentBack: policy does not let him open runs of that workload, or it is none.
            LedgerUnavailable: it cannot be recorded.
        """
        if intent is not None and len(intent) > MAX_TEXT:
            raise self._denied(asked, "The words are too many.")
        try:
            workload = await self._inventory.get(asked.client.workload)
        except NotFound:
            raise self._denied(asked, "The client's workload is not registered.") from None
        try:
            await self._tokens.check_standing(workload.id)
        except Forbidden as error:
            raise self._denied(asked, error.message) from None
        except Interrupted:
            # Who has revoked it and why is not for whoever reads this URL.
            raise self._denied(asked, "The client's workload is revoked.") from None
        run = await self._runs.open_run(
            workload=workload,
            intent=intent,
            author=Author(name=person.name, proof=BY_OAUTH + person.proof),
        )
        grant = Grant(
            id=f"grt_{self._clock.token()}",
            client=asked.client.id,
            workload=workload.id,
            run=run.id,
            person=person.name,
            proof=person.proof,
            scope=asked.scope,
            expires_at=run.expires_at,
            jkt=asked.jkt,
        )
        await self._store.put_grant(grant)
        ticket = self._recorder.append(
            Changed(
                at=self._clock.now(),
                what=f"oauth.consent {asked.client.id}",
                author=person.name,
                proof=BY_OAUTH + person.proof,
                details={"grant": grant.id, "run": run.id, "scope": list(asked.scope)},
            )
        )
        await ticket.durable()
        text = secrets.token_urlsafe(32)
        await self._store.put_code(
            Code(
                digest=_digest(text),
                grant=grant,
                redirect_uri=asked.redirect_uri,
                challenge=asked.challenge,
                expires_at=int(self._clock.now()) + CODE_S,
            )
        )
        return text

    def _wrong(self, form: Mapping[str, str]) -> tuple[Refusal, str] | None:
        """What is wrong with a request whose client and redirect URI hold, or None."""
        challenge = form.get("code_challenge", "")
        s256 = form.get("code_challenge_method") == "S256" and self._proofs.is_challenge(challenge)
        bad_key = "dpop_jkt" in form and not self._proofs.is_thumbprint(form["dpop_jkt"])
        long = len(form.get("state", "")) > MAX_STATE
        mode = form.get("response_mode", "query")
        for wrong, refusal, why in (
            (long, Refusal.INVALID_REQUEST, "The state is too long."),
            (
                form.get("response_type") != "code",
                Refusal.UNSUPPORTED_RESPONSE_TYPE,
                "Only codes are given.",
            ),
            (mode != "query", Refusal.INVALID_REQUEST, "Only the query takes answers."),
            (
                not {"request", "request_uri"}.isdisjoint(form),
                Refusal.INVALID_REQUEST,
                "Request objects are not read.",
            ),
            (not s256, Refusal.INVALID_REQUEST, "A S256 code challenge is needed."),
            (bad_key, Refusal.INVALID_REQUEST, "dpop_jkt is no thumbprint."),
        ):
            if wrong:
                return refusal, why
        return None

    def _denied(self, asked: Asked, why: str) -> SentBack:
        return SentBack(
            Refusal.ACCESS_DENIED, why, redirect_uri=asked.redirect_uri, state=asked.state
        )

    # The token endpoint

    async def redeem(self, request: AuthorizationRequest) -> JSONObject:
        """A code for tokens (RFC 6749 §4.1.3). Raises `AuthorizationRefused`."""
        form = request.form
        client = await self._clients.known(request)
        self._tokens.check_target(form)
        bound = await self._tokens.bound(request)
        taken = await self._store.take_code(_digest(form.get("code", "")))
        if taken is None:
            raise _no_grant("The code is not one of ours.")
        code, first = taken
        if not first:
            await self._stolen(code.grant, "code.replayed", client)
            raise _no_grant("The code has been used before; what came of it is revoked.")
        if code.expires_at <= self._clock.now():
            raise _no_grant("The code has expired.", hint="It is good for a minute.")
        # One message for all three: which of them was wrong helps only whoever guesses.
        holds = (
            client.id == code.grant.client
            and hmac.compare_digest(
                form.get("redirect_uri", "").encode(), code.redirect_uri.encode()
            )
            and self._proofs.verifies(form.get("code_verifier", ""), code.challenge)
        )
        if not holds or (code.grant.jkt is not None and code.grant.jkt != bound.jkt):
            raise _no_grant("The code was not given to this client for this request.")
        _check_same(code.grant, client)
        scope = self._tokens.scope({}, code.grant.scope, client.scope)
        return await self._answer(code.grant, client, bound, scope)

    async def refresh(self, request: AuthorizationRequest) -> JSONObject:
        """New tokens for a refresh token, which is used up (OAuth 2.1 §4.3). Raises as `redeem`."""
        form = request.form
        client = await self._clients.known(request)
        self._tokens.check_target(form)
        bound = await self._tokens.bound(request)
        digest = _digest(form.get("refresh_token", ""))
        seen = await self._store.get_refresh(digest)
        grant = None if seen is None else await self._store.get_grant(seen[0].grant)
        if seen is None or grant is None:
            raise _no_grant("The refresh token is not one that is good here.")
        refresh, unused = seen
        scope: Scopes | None = None
        if unused and client.id == grant.client and bound.jkt == refresh.jkt:
            if refresh.expires_at <= self._clock.now():
                raise _no_grant("The refresh token has expired.", hint="Log in again.")
            _check_same(grant, client)
            # Before it is spent: who asks for too much by mistake keeps what he has.
            scope = self._tokens.scope(_without_offline(form), grant.scope, client.scope)
        taken = await self._store.take_refresh(digest)
        if scope is None or taken is None or not taken[1]:
            await self._stolen(grant, "refresh.replayed", client)
            raise _no_grant("The refresh token was used by another, or before; all is revoked.")
        return await self._answer(grant, client, bound, scope)

    async def revoke(self, token: str, client: Known) -> bool:
        """RFC 7009 for a refresh token, and for a code: False if it is neither."""
        taken = await self._store.take_refresh(_digest(token))
        grant = None if taken is None else await self._store.get_grant(taken[0].grant)
        if taken is None:
            code = await self._store.take_code(_digest(token))
            if code is None:
                return False
            grant = code[0].grant
        if grant is None:
            return True
        if grant.client != client.id:
            raise _no_grant("The token was issued to another client.")
        await self._end(
            grant, Author(name=client.id, proof=BY_OAUTH + client.method), "revoked by its client"
        )
        return True

    # Inside

    async def _answer(self, grant: Grant, client: Known, bound: Bound, scope: Scopes) -> JSONObject:
        try:
            issued = await self._tokens.issue(
                workload=grant.workload,
                run=grant.run,
                client=client.id,
                author=Author(name=grant.person, proof=BY_OAUTH + grant.proof),
                scope=scope,
                bound=bound,
                until=grant.expires_at,
            )
        except (Conflict, NotFound) as error:
            raise _no_grant(error.message, hint="Log in again.") from None
        await self._store.note_token(grant.id, issued.jti, expires_at=issued.expires_at)
        if await self._store.get_grant(grant.id) is None:
            # The code came a second time while this token was made.
            author = Author(name=client.id, proof="replay")
            await self._tokens.take_back(
                issued.jti, author=author, until=issued.expires_at, reason="its code was replayed"
            )
            raise _no_grant("The grant has ended.")
        answer = issued.answer
        if bound.jkt is not None:
            text = secrets.token_urlsafe(32)
            await self._store.put_refresh(
                Refresh(
                    digest=_digest(text),
                    grant=grant.id,
                    jkt=bound.jkt,
                    expires_at=grant.expires_at,
                )
            )
            answer = {**answer, "refresh_token": text}
        return answer

    async def _stolen(self, grant: Grant, what: str, client: Known) -> None:
        self._recorder.append(
            Observed(
                at=self._clock.now(),
                what=what,
                subject=grant.workload,
                details={"grant": grant.id, "run": grant.run, "client": client.id},
            )
        )
        await self._end(grant, Author(name="midflight", proof=what), what)

    async def _end(self, grant: Grant, author: Author, reason: str) -> None:
        await self._store.end_grant(grant.id)
        for token in await self._store.tokens_of(grant.id):
            await self._tokens.take_back(
                token, author=author, until=grant.expires_at, reason=reason
            )


def _check_same(grant: Grant, client: Known) -> None:
    """What an operator has made of the client since counts: it acts as no earlier workload."""
    if grant.workload != client.workload:
        raise _no_grant("The client acts for another workload by now.", hint="Log in again.")


def _without_offline(form: Mapping[str, str]) -> Mapping[str, str]:
    """`offline_access` asks for a refresh token, which is given or not whoever asks."""
    kept = [value for value in form.get("scope", "").split(" ") if value != "offline_access"]
    rest = {name: value for name, value in form.items() if name != "scope"}
    return {**rest, "scope": " ".join(kept)} if any(kept) else rest


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _no_grant(message: str, *, hint: str = "") -> AuthorizationRefused:
    return AuthorizationRefused(Refusal.INVALID_GRANT, message, hint=hint)


__all__ = ["CODE_S", "Asked", "Codes", "SentBack"]
