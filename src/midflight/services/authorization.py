"""The authorization server for Midflight's own resource: which grant answers a request, and errors.

    clients     authorization_clients.py    who calls
    tokens      authorization_tokens.py     issue, introspect, revoke
    exchange    authorization_exchange.py   RFC 8693
    subjects    authorization_subjects.py   what is taken in exchange
    codes       authorization_codes.py      people: codes and refresh tokens
    people      authorization_people.py     who is signed in

Experimental, behind the token endpoint where they are on:

    transactions  transaction_tokens.py     RFC 8693, for transaction tokens
    assertions    identity_assertions.py    RFC 7523, for identity assertions

Every refusal leaves here as an `AuthorizationRefused` with an OAuth code; what else goes wrong is
`server_error` without a word of why. Above: `apps/oauth`, which counts and records refusals.
"""

from __future__ import annotations

from midflight.domain.authorization import AuthorizationRefused, Refusal
from midflight.domain.errors import (
    Conflict,
    Forbidden,
    Interrupted,
    Malformed,
    MidflightError,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from midflight.domain.identity import Author
from midflight.domain.value import JSONObject
from midflight.services.authorization_clients import AuthorizationRequest, Clients, Known
from midflight.services.authorization_codes import Codes
from midflight.services.authorization_exchange import Exchange
from midflight.services.authorization_tokens import AuthorizedTokens
from midflight.services.identity_assertions import JWT_BEARER_GRANT, IdentityAssertions
from midflight.services.openers import BY_OAUTH
from midflight.services.transaction_tokens import TransactionTokens

EXCHANGE_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"


class Authorization:
    """The endpoints as verbs."""

    def __init__(
        self,
        *,
        clients: Clients,
        tokens: AuthorizedTokens,
        exchange: Exchange,
        codes: Codes,
        assertions: IdentityAssertions | None = None,
        transactions: TransactionTokens | None = None,
    ) -> None:
        """`assertions` and `transactions` are there where the experiments are on."""
        self.clients = clients
        self.tokens = tokens
        self.codes = codes
        self._exchange = exchange
        self._assertions = assertions
        self._transactions = transactions

    async def token(self, request: AuthorizationRequest) -> JSONObject:
        """The token endpoint. Raises `AuthorizationRefused` alone."""
        try:
            match request.form.get("grant_type"):
                case "client_credentials":
                    return await self._credentials(request)
                case "authorization_code":
                    return await self.codes.redeem(request)
                case "refresh_token":
                    return await self.codes.refresh(request)
                case grant if grant == EXCHANGE_GRANT:
                    return await self._exchange.exchange(request)
                case grant if grant == JWT_BEARER_GRANT and self._assertions is not None:
                    return await self._assertions.redeem(request)
                case None:
                    raise AuthorizationRefused(Refusal.INVALID_REQUEST, "grant_type is missing.")
                case _:
                    raise AuthorizationRefused(
                        Refusal.UNSUPPORTED_GRANT_TYPE, "That grant is not given here."
                    )
        except MidflightError as error:
            raise as_refusal(error) from None

    async def introspect(self, request: AuthorizationRequest) -> JSONObject:
        """The introspection endpoint (RFC 7662). Raises `AuthorizationRefused` alone."""
        try:
            client = await self._proved(request)
            return await self.tokens.introspect(_token(request), client)
        except MidflightError as error:
            raise as_refusal(error) from None

    async def revoke(self, request: AuthorizationRequest) -> None:
        """The revocation endpoint (RFC 7009): durable when it returns.

        What is no token is as good as revoked; a transaction token cannot be revoked. Raises
        `AuthorizationRefused` alone.
        """
        try:
            client = await self.clients.known(request)
            token = _token(request)
            if self._transactions is not None:
                self._transactions.check_revocable(token)
            if not await self.tokens.revoke(token, client):
                await self.codes.revoke(token, client)
        except MidflightError as error:
            raise as_refusal(error) from None

    # Inside

    async def _credentials(self, request: AuthorizationRequest) -> JSONObject:
        client = await self._proved(request)
        self.tokens.check_target(request.form)
        bound = await self.tokens.bound(request)
        scope = self.tokens.scope(request.form, client.scope)
        issued = await self.tokens.issue(
            workload=client.workload,
            run=client.run,
            client=client.id,
            author=Author(name=client.id, proof=BY_OAUTH + client.method),
            scope=scope,
            bound=bound,
        )
        return issued.answer

    async def _proved(self, request: AuthorizationRequest) -> Known:
        client = await self.clients.known(request)
        if not client.proved:
            raise AuthorizationRefused(
                Refusal.INVALID_CLIENT, "A client that has proved nothing cannot have that."
            )
        return client


def as_refusal(error: MidflightError) -> AuthorizationRefused:
    """What an error of a service is to an OAuth client."""
    match error:
        case AuthorizationRefused():
            return error
        case Unavailable():
            return AuthorizationRefused(
                Refusal.TEMPORARILY_UNAVAILABLE, error.message, hint=error.hint
            )
        case Forbidden():
            refusal = Refusal.UNAUTHORIZED_CLIENT
        case NotFound() | Conflict() | Interrupted():
            refusal = Refusal.INVALID_GRANT
        case Unauthenticated():
            refusal = Refusal.INVALID_CLIENT
        case Malformed():
            refusal = Refusal.INVALID_REQUEST
        case _:
            return AuthorizationRefused(Refusal.SERVER_ERROR, "It went wrong inside.")
    return AuthorizationRefused(refusal, error.message, hint=error.hint)


def _token(request: AuthorizationRequest) -> str:
    if "token" not in request.form:
        raise AuthorizationRefused(Refusal.INVALID_REQUEST, "token is missing.")
    return request.form["token"]


__all__ = ["EXCHANGE_GRANT", "Authorization", "as_refusal"]
