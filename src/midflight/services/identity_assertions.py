"""The JWT bearer grant (RFC 7523 §2.1) for identity assertions alone: a person, without a browser.

draft-ietf-oauth-identity-assertion-authz-grant-03, experimental. A provider of the settings says
that a person lets a client in; the client, which has to prove that it is the one, gets a token for
a run of its workload that this person has opened, bound to a key or a certificate. Policy decides
whether he may open it. An assertion counts once, although the draft would let it come again: a copy
is then worth nothing. There is no refresh token: the provider decides each time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from midflight.domain.authorization import AuthorizationRefused, Refusal
from midflight.domain.errors import Misconfigured, Unauthenticated
from midflight.domain.identity import Author
from midflight.domain.scopes import Scopes, scopes_of
from midflight.domain.value import JSONObject, Value
from midflight.services.authorization_clients import AuthorizationRequest, Clients, Known
from midflight.services.authorization_subjects import check_launched
from midflight.services.authorization_tokens import AuthorizedTokens, Bound
from midflight.services.inventory import Inventory
from midflight.services.key_sets import KeySets, KeySource
from midflight.services.openers import BY_OAUTH
from midflight.services.ports.clock import Clock
from midflight.services.ports.identity_assertions import AssertionFacts, AssertionProofs
from midflight.services.ports.proofs import OutsideTokens
from midflight.services.ports.store import Store
from midflight.services.runs import Runs

JWT_BEARER_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
PURPOSE = "id-jag"


class AssertionIssuer(Value):
    """One provider whose assertions are taken.

    Attributes:
        keys: where its keys are; `keys.issuer` is what `iss` must be.
        algorithms: its allow-list.
        tenant: the one of its tenants whose people are let in; None where it has none.
        log_in_here: whether people log in at it, too, and are known by the same name.
    """

    keys: KeySource
    algorithms: tuple[str, ...]
    tenant: str | None = None
    log_in_here: bool = False

    def name_of(self, person: str) -> str:
        """What policies and records call a person of it.

        Two issuers may give one name to two people, and policies compare names (`opener == owner`):
        only that of the provider that people log in at stands alone.
        """
        return person if self.log_in_here else f"{self.keys.issuer}#{person}"


class IdentityAssertions:
    """See the module."""

    def __init__(
        self,
        *,
        issuers: Sequence[AssertionIssuer],
        key_sets: KeySets,
        reader: OutsideTokens,
        proofs: AssertionProofs,
        clients: Clients,
        tokens: AuthorizedTokens,
        runs: Runs,
        inventory: Inventory,
        store: Store,
        clock: Clock,
        issuer: str,
        resource: str,
    ) -> None:
        """The table is fixed; what an assertion says of its issuer only finds the row.

        Raises:
            Misconfigured: a row is of this very server, which would let its own word in.
        """
        self._issuers = {each.keys.issuer: each for each in issuers}
        if issuer in self._issuers:
            raise Misconfigured(
                "Identity assertions of this server itself are not taken.",
                ["oauth.id_jag_issuer: one row is the issuer of this server"],
            )
        self._key_sets = key_sets
        self._reader = reader
        self._proofs = proofs
        self._clients = clients
        self._tokens = tokens
        self._runs = runs
        self._inventory = inventory
        self._store = store
        self._clock = clock
        self._issuer = issuer
        self._resource = resource

    async def redeem(self, request: AuthorizationRequest) -> JSONObject:
        """The token response (RFC 6749 §5.1).

        Raises:
            AuthorizationRefused: and everything that opening a run may raise.
            NoDocument: the keys of the issuer cannot be had.
        """
        form = request.form
        if "assertion" not in form:
            raise AuthorizationRefused(Refusal.INVALID_REQUEST, "assertion is missing.")
        client = await self._clients.known(request)
        if not client.proved:
            raise AuthorizationRefused(
                Refusal.INVALID_CLIENT, "An identity assertion is taken of a proved client only."
            )
        check_launched(client, None)
        if "intent" in form or "task" in form:
            raise AuthorizationRefused(
                Refusal.UNAUTHORIZED_CLIENT,
                "Nobody was there who could have said what is to be done.",
                hint="Leave intent and task out; the person's own login can state an intent.",
            )
        self._tokens.check_target(form)
        bound = await self._tokens.bound(request)
        row, found = await self._verified(form["assertion"])
        self._check_sender(found, client, bound)
        self._check_resource(found)
        scope = self._tokens.scope(form, _scope(found), client.scope)
        if not await self._tokens.stands(client.workload):
            raise _no_grant("The client's workload is revoked, or not in good standing.")
        await self._spend(found)
        author = Author(
            name=row.name_of(found.person), proof=f"{BY_OAUTH}{PURPOSE}:{row.keys.issuer}"
        )
        run = await self._runs.open_run(
            workload=await self._inventory.get(client.workload), intent=None, author=author
        )
        issued = await self._tokens.issue(
            workload=client.workload,
            run=run.id,
            client=client.id,
            author=author,
            scope=scope,
            bound=bound,
            details=_details(row, found),
            what=PURPOSE,
        )
        if found.resources is None:
            return issued.answer
        # The draft has what is granted of them named, since there may have been more.
        return {**issued.answer, "resource": self._resource}

    # Inside

    async def _verified(self, text: str) -> tuple[AssertionIssuer, AssertionFacts]:
        try:
            hint = self._reader.unverified(text)
            row = self._issuers.get(hint.issuer)
            if row is None:
                # Its name is not repeated: it is the client's text until a signature holds.
                raise _no_grant(
                    "The identity assertion is from no issuer that is trusted here for it.",
                    hint="An operator adds an [[oauth.id_jag_issuer]] to midflight.toml.",
                )
            return row, self._proofs.verify_identity_assertion(
                text,
                issuer=row.keys.issuer,
                audience=self._issuer,
                algorithms=row.algorithms,
                tenant=row.tenant,
                jwks=await self._key_sets.jwks(row.keys, kid=hint.kid),
                now=self._clock.now(),
            )
        except Unauthenticated as error:
            # RFC 7521 §4.1.1
            raise _no_grant(error.message, hint=error.hint) from None

    def _check_sender(self, found: AssertionFacts, client: Known, bound: Bound) -> None:
        if found.client != client.id:
            raise _no_grant("The identity assertion was given to another client.")
        if not bound:
            raise _no_grant(
                "What is given for an identity assertion is bound to a key or a certificate.",
                hint="Send a DPoP proof (RFC 9449 §5), or connect with a certificate (RFC 8705).",
            )
        if found.thumbprint not in {None, bound.jkt} or found.certificate not in {None, bound.x5t}:
            raise _no_grant("The identity assertion is bound to another key than was proved.")

    def _check_resource(self, found: AssertionFacts) -> None:
        if found.resources is not None and self._resource not in found.resources:
            raise AuthorizationRefused(
                Refusal.INVALID_TARGET,
                "The identity assertion is for another resource.",
                hint=f"The resource is {self._resource}.",
            )

    async def _spend(self, found: AssertionFacts) -> None:
        fresh = await self._store.use_once(
            PURPOSE, found.replay_key, until=found.until, now=int(self._clock.now())
        )
        if not fresh:
            raise _no_grant(
                "The identity assertion has been used before.",
                hint="Ask the identity provider for a new one.",
            )


def _scope(found: AssertionFacts) -> Scopes | None:
    if found.scope is None:
        return None
    try:
        return scopes_of(found.scope)
    except ValueError as error:
        # What is unknown could have been meant to narrow, so it is not simply left out.
        raise AuthorizationRefused(
            Refusal.INVALID_SCOPE, f"The scope of the identity assertion is none here: {error}."
        ) from None


def _details(row: AssertionIssuer, found: AssertionFacts) -> Mapping[str, str]:
    details = {"issuer": row.keys.issuer, "assertion": found.jti[:256]}
    return details if row.tenant is None else {**details, "tenant": row.tenant}


def _no_grant(message: str, *, hint: str = "") -> AuthorizationRefused:
    return AuthorizationRefused(Refusal.INVALID_GRANT, message, hint=hint)


__all__ = ["JWT_BEARER_GRANT", "AssertionIssuer", "IdentityAssertions"]
