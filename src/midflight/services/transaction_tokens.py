"""Transaction tokens by token exchange: draft-ietf-oauth-transaction-tokens-10, experimental.

    access token of a run    a token that says to the services of this trust domain which run it is
                             (`txn`), for whom (`sub`), who asked (`req_wl`), and for what (`scope`)
    transaction token        the same transaction for who is next in the chain of calls: narrower,
                             never longer, `tctx` and `rctx` as they were

It is signed with keys of its own purpose: one that signs access tokens too could be made to sign
either for the other. Nothing else is taken as a subject: of an SVID no scope is known, and the
draft has what is unknown refused. Above: `authorization_exchange.py`, which finds the way here.
"""

from __future__ import annotations

from collections.abc import Mapping

from midflight.domain.authorization import AuthorizationRefused, Refusal
from midflight.domain.errors import Malformed, Unauthenticated
from midflight.domain.identity import MAX_ACTORS
from midflight.domain.records import Issued
from midflight.domain.scopes import Scopes, scopes_within
from midflight.domain.value import Discreet, JSONObject
from midflight.services.authorization_clients import AuthorizationRequest, Clients, Known
from midflight.services.authorization_subjects import (
    ACCESS_TOKEN,
    OwnTokens,
    check_launched,
    check_possession,
)
from midflight.services.authorization_tokens import AuthorizedTokens
from midflight.services.openers import BY_OAUTH
from midflight.services.ports.authorization_proofs import Subject
from midflight.services.ports.clock import Clock
from midflight.services.ports.keys import TokenSigner
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.store import Store
from midflight.services.ports.transaction_proofs import TransactionClaims, TransactionProofs

TRANSACTION_TOKEN = "urn:ietf:params:oauth:token-type:txn_token"  # noqa: S105 -- the name of a type
LIFE_S = 300
MAX_CHARS = 8_192
"""What readers of tokens take at most: a longer one would be refused everywhere."""

_NEEDED = ("audience", "scope", "subject_token", "subject_token_type")
# What an exchange for an access token knows and this does not.
_STRANGE = ("actor_token", "actor_token_type", "dpop_jkt", "task", "intent")
_CONTEXTS = ("request_details", "request_context")


class _Held(Discreet):
    """What the new token is made from."""

    shown = ("run",)

    workload: str
    run: str
    token: str
    expires_at: int
    scope: Scopes | None
    actors: tuple[str, ...]
    details: JSONObject
    context: JSONObject


class TransactionTokens:
    """See the module."""

    def __init__(
        self,
        *,
        clients: Clients,
        tokens: AuthorizedTokens,
        own: OwnTokens,
        store: Store,
        signer: TokenSigner,
        recorder: Recorder,
        clock: Clock,
        proofs: TransactionProofs,
        issuer: str,
        trust_domain: str,
    ) -> None:
        """`signer` is of the purpose of transaction tokens and of no other."""
        self._clients = clients
        self._tokens = tokens
        self._own = own
        self._store = store
        self._signer = signer
        self._recorder = recorder
        self._clock = clock
        self._proofs = proofs
        self._issuer = issuer
        self._trust_domain = trust_domain

    async def exchange(self, request: AuthorizationRequest) -> JSONObject:
        """The response of the draft's section "Txn-Token Response".

        Raises:
            AuthorizationRefused: it is not given.
            LedgerUnavailable: it cannot be recorded, so it is not handed out.
        """
        form = request.form
        self._check_form(form)
        client = await self._clients.known(request)
        if not client.proved:
            raise AuthorizationRefused(
                Refusal.INVALID_CLIENT,
                "Who asks for a transaction token has to prove who it is.",
                hint="Authenticate with a key (RFC 7523), an SVID or a certificate (RFC 8705).",
            )
        bound = await self._tokens.bound(request)
        subject, held = await self._held(form)
        if subject is not None:
            check_possession(subject, bound)
        check_launched(client, held.run)
        actors = _chain(client, held)
        await self._check_standing(client, held, actors)
        run = await self._store.get_run(held.run)
        assert run is not None
        scope = self._tokens.scope(form, held.scope, client.scope, scopes_within(run.run.narrowed))
        now = int(self._clock.now())
        ends = min(now + LIFE_S, held.expires_at, run.run.expires_at)
        if ends <= now:
            raise AuthorizationRefused(
                Refusal.INVALID_REQUEST, "The subject token has ended.", hint="Get a new one."
            )
        jti = f"tok_{self._clock.token()}"
        text = await self._made(held, jti=jti, now=now, ends=ends, scope=scope, actors=actors)
        await self._record(held, client, jti=jti, ends=ends, scope=scope, actors=actors)
        # What was revoked while it was signed and recorded is not handed out after all.
        await self._check_standing(client, held, actors)
        return {
            "access_token": text,
            "issued_token_type": TRANSACTION_TOKEN,
            "token_type": "N_A",
            "expires_in": ends - now,
            "scope": " ".join(scope),
        }

    def check_revocable(self, text: str) -> None:
        """`unsupported_token_type` (RFC 7009 §2.2.1) for one of these: who has it asks nobody."""
        try:
            self._read(text)
        except Unauthenticated:
            return
        raise AuthorizationRefused(
            Refusal.UNSUPPORTED_TOKEN_TYPE,
            "A transaction token is believed until its end by whoever has it.",
            hint="Revoke its run: midflight revoke run; then no further one is made of it.",
        )

    # Inside

    def _read(self, text: str) -> TransactionClaims:
        return self._proofs.verify_transaction_token(
            text,
            jwks=self._signer.public_jwks(),
            issuer=self._issuer,
            trust_domain_name=self._trust_domain,
            now=self._clock.now(),
        )

    def _check_form(self, form: Mapping[str, str]) -> None:
        for name in _NEEDED:
            if name not in form:
                raise AuthorizationRefused(Refusal.INVALID_REQUEST, f"{name} is missing.")
        for name in _STRANGE:
            if name in form:
                raise AuthorizationRefused(
                    Refusal.INVALID_REQUEST, f"{name} has no place in a transaction token."
                )
        if form["audience"] != self._trust_domain or "resource" in form:
            raise AuthorizationRefused(
                Refusal.INVALID_TARGET,
                "A transaction token is for this trust domain, whole and alone.",
                hint=f"audience={self._trust_domain}, and no resource.",
            )

    async def _held(self, form: Mapping[str, str]) -> tuple[Subject | None, _Held]:
        """What is held, and the subject whose key has to be proved, if any."""
        text, kind = form["subject_token"], form["subject_token_type"]
        try:
            if kind == TRANSACTION_TOKEN:
                return None, self._replaced(form, text)
            subject = await self._own.resolve(text, kind, now=self._clock.now())
        except Unauthenticated as error:
            raise AuthorizationRefused(
                Refusal.INVALID_REQUEST, error.message, hint=error.hint
            ) from None
        if subject is None or subject.workload is None or subject.run is None:
            raise AuthorizationRefused(
                Refusal.INVALID_REQUEST,
                "A transaction is a run: only a token that names one is taken here.",
                hint=f"An access token of a run ({ACCESS_TOKEN}), or a transaction token.",
            )
        details, context = (self._context(form, name) for name in _CONTEXTS)
        return subject, _Held(
            workload=subject.workload,
            run=subject.run,
            token=subject.token,
            expires_at=subject.expires_at,
            scope=subject.scope,
            actors=subject.actors,
            details=details,
            context=context,
        )

    def _replaced(self, form: Mapping[str, str], text: str) -> _Held:
        claims = self._read(text)
        if any(name in form for name in _CONTEXTS):
            raise AuthorizationRefused(
                Refusal.INVALID_REQUEST,
                "What a transaction is about does not change on its way.",
                hint="Leave request_details and request_context out of a replacement.",
            )
        return _Held(
            workload=claims.workload,
            run=claims.run,
            token=claims.token,
            expires_at=claims.expires_at,
            scope=claims.scope,
            actors=claims.actors,
            details=claims.details,
            context=claims.context,
        )

    def _context(self, form: Mapping[str, str], name: str) -> JSONObject:
        if name not in form:
            return {}
        try:
            return self._proofs.transaction_context(form[name])
        except Malformed as error:
            raise AuthorizationRefused(
                Refusal.INVALID_REQUEST, f"{name}: {error.message}", hint=error.hint
            ) from None

    async def _check_standing(self, client: Known, held: _Held, actors: tuple[str, ...]) -> None:
        if not await self._tokens.stands(client.workload):
            raise AuthorizationRefused(
                Refusal.UNAUTHORIZED_CLIENT,
                "The client's workload is revoked, or not in good standing.",
                hint="midflight workload list.",
            )
        if not await self._tokens.stands(
            held.workload, run=held.run, token=held.token, actors=actors
        ):
            raise AuthorizationRefused(
                Refusal.INVALID_REQUEST, "The subject token is revoked, or its run has ended."
            )

    async def _made(
        self,
        held: _Held,
        *,
        jti: str,
        now: int,
        ends: int,
        scope: Scopes,
        actors: tuple[str, ...],
    ) -> str:
        header, claims = self._proofs.transaction_claims(
            issuer=self._issuer,
            trust_domain_name=self._trust_domain,
            workload=held.workload,
            token=jti,
            run=held.run,
            issued_at=now,
            lifetime_s=ends - now,
            scope=scope,
            actors=actors,
            details=held.details,
            context=held.context,
        )
        text = await self._signer.mint(header, claims)
        if len(text) > MAX_CHARS:
            raise AuthorizationRefused(
                Refusal.INVALID_REQUEST,
                "The transaction token would be longer than anybody reads.",
                hint="Ask for less scope, and say less in request_details and request_context.",
            )
        return text

    async def _record(
        self,
        held: _Held,
        client: Known,
        *,
        jti: str,
        ends: int,
        scope: Scopes,
        actors: tuple[str, ...],
    ) -> None:
        # Neither the token nor its contexts, which may be about people (the draft's "Logging").
        ticket = self._recorder.append(
            Issued(
                at=self._clock.now(),
                what="transaction-token",
                id=jti,
                subject=held.workload,
                run=held.run,
                expires_at=ends,
                proof=BY_OAUTH + client.method,
                details={
                    "audience": self._trust_domain,
                    "client": client.id,
                    "requester": client.workload,
                    "from": held.token,
                    "scope": list(scope),
                    "actors": list(actors),
                },
            )
        )
        await ticket.durable()


def _chain(client: Known, held: _Held) -> tuple[str, ...]:
    """Who asks, before everybody who acted or asked (the draft has this chain kept)."""
    before = held.actors
    chain = before if before[:1] == (client.workload,) else (client.workload, *before)
    if len(chain) > MAX_ACTORS:
        raise AuthorizationRefused(
            Refusal.INVALID_REQUEST, f"The chain of workloads is {MAX_ACTORS} long already."
        )
    return chain


__all__ = ["TRANSACTION_TOKEN", "TransactionTokens"]
