"""Clients of the authorization server: registering them, and knowing one when it calls.

A client proves itself with a key that it registered (`private_key_jwt`), with a JWT-SVID, or with
the X509-SVID of its connection; a public one proves nothing and gets codes only. There are no
client secrets. Above: `authorization.py`. Below: the store, `ports/authorization_proofs.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from midflight.domain.authorization import AuthorizationRefused, Client, Refusal
from midflight.domain.errors import Malformed, NotFound, Unauthenticated
from midflight.domain.identity import Author
from midflight.domain.scopes import Scopes
from midflight.domain.value import Discreet, Value
from midflight.services.authorization_documents import ClientDocuments
from midflight.services.authorization_registration import is_document, problems
from midflight.services.changes import record_change
from midflight.services.ports.authorization_proofs import AuthorizationProofs, Svids
from midflight.services.ports.authorization_store import AuthorizationStore
from midflight.services.ports.clock import Clock
from midflight.services.ports.documents import Documents
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.store import Store

ASSERTION_PURPOSE = "client-assertion"
SVID_PURPOSE = "svid"


class AuthorizationRequest(Discreet):
    """One request to an endpoint of the authorization server.

    Attributes:
        form: its parameters, each once.
        authorization: every value of the `Authorization` header.
        dpop: every value of the `DPoP` header.
        url: the endpoint's URL as clients see it.
        chain: what the client showed in the handshake, DER, the leaf first. TLS has proved the
            leaf's key and nothing else.
        x5t: the leaf's `x5t#S256`, or None.
        peer: network address, for records.
    """

    shown = ("url", "peer")

    form: Mapping[str, str]
    url: str
    authorization: tuple[str, ...] = ()
    dpop: tuple[str, ...] = ()
    chain: tuple[bytes, ...] = ()
    x5t: str | None = None
    peer: str = ""


class Known(Value):
    """A client that has proved who it is, or a public one that has said so.

    `method` is `private_key_jwt`, `jwt-svid`, `tls_client_auth` or `none`. `run` is the one that it
    was launched for, by its SVID: it acts in no other.
    """

    id: str
    workload: str
    method: str
    scope: Scopes | None = None
    run: str | None = None

    @property
    def proved(self) -> bool:
        """Whether it is more than a name."""
        return self.method != "none"


class Clients:
    """The registry of clients, and who of them calls."""

    def __init__(
        self,
        *,
        store: Store,
        recorder: Recorder,
        clock: Clock,
        proofs: AuthorizationProofs,
        issuer: str,
        svids: Svids | None = None,
        documents: Documents | None = None,
        document_workload: str | None = None,
    ) -> None:
        """What it works with.

        Args:
            store: clients, and what was used once.
            recorder: the ledger.
            clock: time.
            proofs: `midflight.wire.oauth.proofs`.
            issuer: the one audience of assertions.
            svids: verifies SVIDs; None refuses them.
            documents: fetches metadata documents; None refuses such clients.
            document_workload: the workload of clients that have a document and that nobody has
                registered; None refuses them.
        """
        self._store: AuthorizationStore = store
        self._uses = store
        self._recorder = recorder
        self._clock = clock
        self._proofs = proofs
        self._issuer = issuer
        self._svids = svids
        self._documents = (
            None
            if documents is None
            else ClientDocuments(documents=documents, clock=clock, proofs=proofs)
        )
        self._document_workload = document_workload

    # For operators

    async def add(self, client: Client, author: Author) -> Client:
        """Register a client, or replace its registration.

        Raises:
            Malformed: every problem with it, at once.
            NotFound: its workload is not registered.
        """
        found = problems(client, self._proofs)
        if found:
            raise Malformed(f"The client cannot be registered: {'; '.join(found)}.")
        if await self._uses.get_workload(client.workload) is None:
            raise NotFound(
                f"There is no workload {client.workload}.", hint="Register it: workload add."
            )
        kept = msgspec.structs.replace(client, by=author.name, at=int(self._clock.now()))
        await self._store.put_client(kept)
        if self._documents is not None:
            self._documents.forget(kept.id)
        await self._changed("add", kept, author)
        return kept

    async def remove(self, client_id: str, author: Author) -> None:
        """Forget a client: it gets nothing more. `NotFound` if there is none."""
        found = await self._store.get_client(client_id)
        if found is None or not await self._store.delete_client(client_id):
            raise NotFound(f"There is no client {client_id}.", hint="midflight client list.")
        await self._changed("remove", found, author)

    async def list(self) -> Sequence[Client]:
        """All registered clients, by id."""
        return await self._store.list_clients()

    # For the endpoints

    async def find(self, client_id: str) -> Client | None:
        """A client that is registered and enabled, with what its document says; or None.

        Raises:
            AuthorizationRefused: its document cannot be had, or is not one.
        """
        found = await self._store.get_client(client_id)
        if found is not None and (found.disabled or not found.document):
            return None if found.disabled else found
        if not is_document(client_id) or self._documents is None:
            return None
        if found is None and self._document_workload is None:
            return None
        return await self._from_document(client_id, found)

    async def known(self, request: AuthorizationRequest) -> Known:
        """Who calls.

        Raises:
            AuthorizationRefused: `invalid_client`: nobody that is known here, or not proved.
        """
        form = request.form
        if request.authorization or "client_secret" in form:
            raise _not_known("There are no client secrets here.")
        try:
            if "client_assertion" in form:
                return await self._by_assertion(form)
            if request.chain and self._svids is not None:
                return await self._by_certificate(request.chain, form)
        except Unauthenticated as error:
            # A certificate that is no SVID proves nothing here; tokens can be bound to it still.
            if "client_assertion" in form or "client_id" not in form:
                raise _not_known(error.message, hint=error.hint) from None
        client = await self.find(form.get("client_id", "")) if "client_id" in form else None
        if client is None or client.keys:
            raise _not_known("The client is not known here, or has not proved who it is.")
        return Known(id=client.id, workload=client.workload, method="none", scope=client.scope)

    async def presented(self, request: AuthorizationRequest) -> Known | None:
        """Who calls, or None where nothing of a client is in the request at all."""
        form = request.form
        shown = {"client_assertion", "client_assertion_type", "client_id", "client_secret"}
        if request.authorization or request.chain or shown & form.keys():
            return await self.known(request)
        return None

    # Inside

    async def _by_assertion(self, form: Mapping[str, str]) -> Known:
        text, kind = form["client_assertion"], form.get("client_assertion_type", "")
        if kind not in {self._proofs.ASSERTION_TYPE, self._proofs.SVID_ASSERTION_TYPE}:
            raise _not_known("The client_assertion_type is not one that is taken here.")
        named = self._proofs.subject_of(text)
        if form.get("client_id", named) != named:
            raise _not_known("The client_id is not the one of the assertion.")
        if named.startswith("spiffe://") or kind == self._proofs.SVID_ASSERTION_TYPE:
            return await self._by_svid(text)
        client = await self.find(named)
        if client is None or not client.keys:
            raise _not_known("The client assertion does not hold.")
        claims = self._proofs.verify_assertion(
            text,
            client=client.id,
            keys=client.keys,
            audience=self._issuer,
            now=self._clock.now(),
        )
        await self._spend(ASSERTION_PURPOSE, f"{client.id} {claims.jti}", claims.until)
        return Known(
            id=client.id, workload=client.workload, method="private_key_jwt", scope=client.scope
        )

    async def _by_svid(self, text: str) -> Known:
        if self._svids is None:
            raise _not_known("SVIDs are not taken here.")
        svid = self._svids.of_token(text, audience=self._issuer, now=self._clock.now())
        await self._spend(SVID_PURPOSE, svid.id, svid.expires_at + 60)
        return Known(id=svid.spiffe_id, workload=svid.spiffe_id, method="jwt-svid", run=svid.run)

    async def _by_certificate(self, chain: Sequence[bytes], form: Mapping[str, str]) -> Known:
        assert self._svids is not None
        svid = self._svids.of_certificate(chain, now=self._clock.now())
        client_id = form.get("client_id", svid.spiffe_id)
        if client_id == svid.spiffe_id:
            return Known(id=client_id, workload=client_id, method="tls_client_auth", run=svid.run)
        client = await self.find(client_id)
        if client is None or client.workload != svid.spiffe_id:
            raise _not_known("The certificate is not the one of this client.")
        return Known(
            id=client.id,
            workload=client.workload,
            method="tls_client_auth",
            scope=client.scope,
            run=svid.run,
        )

    async def _spend(self, purpose: str, key: str, until: int) -> None:
        if not await self._uses.use_once(purpose, key, until=until, now=int(self._clock.now())):
            raise _not_known("The assertion has been used before.", hint="Make one a request.")

    async def _from_document(self, url: str, registered: Client | None) -> Client:
        assert self._documents is not None
        known = await self._documents.client(url, registered=registered is not None)
        workload = registered.workload if registered else self._document_workload
        assert workload is not None
        return msgspec.structs.replace(
            known, workload=workload, scope=registered.scope if registered else None
        )

    async def _changed(self, verb: str, client: Client, author: Author) -> None:
        await record_change(
            self._recorder,
            at=self._clock.now(),
            what=f"client.{verb} {client.id}",
            author=author,
            details={
                "workload": client.workload,
                "redirect_uris": list(client.redirect_uris),
                "keys": len(client.keys),
                "scope": None if client.scope is None else list(client.scope),
            },
        )


def _not_known(message: str, *, hint: str = "") -> AuthorizationRefused:
    return AuthorizationRefused(Refusal.INVALID_CLIENT, message, hint=hint)


__all__ = [
    "ASSERTION_PURPOSE",
    "SVID_PURPOSE",
    "AuthorizationRequest",
    "Clients",
    "Known",
]
