"""Metadata documents of OAuth clients: fetched for strangers, so once for all, and bounded.

A stranger names a URL, and this server goes there: what is fetched is remembered, what was of no
use is not asked for again right after, and only a few are on their way at once. What a document may
say is `authorization_registration.py`'s. Above: `authorization_clients.py`. Below: `Documents`.
"""

from __future__ import annotations

import asyncio

from midflight.domain.authorization import AuthorizationRefused, Client, Refusal
from midflight.domain.errors import Malformed, NoDocument
from midflight.services.authorization_registration import client_of, problems
from midflight.services.ports.authorization_proofs import AuthorizationProofs
from midflight.services.ports.clock import Clock
from midflight.services.ports.documents import Documents

DOCUMENT_S = 300
"""Seconds for which a client's metadata document is believed; a revoked key is gone after it."""
REFUSED_S = 30
"""Seconds for which one that was of no use is not asked for again."""
MAX_DOCUMENTS = 256
MAX_FETCHES = 8
"""On their way at once for clients that nobody has registered."""


class ClientDocuments:
    """See the module."""

    def __init__(self, *, documents: Documents, clock: Clock, proofs: AuthorizationProofs) -> None:
        """Nothing is fetched before a client is named."""
        self._documents = documents
        self._clock = clock
        self._proofs = proofs
        self._read: dict[str, tuple[float, Client]] = {}
        # Apart, so that a flood of bad ones forgets no good one.
        self._refused: dict[str, tuple[float, AuthorizationRefused]] = {}
        self._flights: dict[str, asyncio.Task[Client | AuthorizationRefused]] = {}

    async def client(self, url: str, *, registered: bool) -> Client:
        """What the document at a URL says of its client.

        Args:
            url: of a document, by form (`is_document`).
            registered: whether an operator has named it; such a client waits for no stranger.

        Raises:
            AuthorizationRefused: it cannot be had, is none, or too many are being fetched.
        """
        now = self._clock.monotonic()
        for known in (self._read.get(url), self._refused.get(url)):
            if known is not None and known[0] > now:
                return _found(known[1])
        flight = self._flights.get(url)
        if flight is None:
            if not registered and len(self._flights) >= MAX_FETCHES:
                raise AuthorizationRefused(
                    Refusal.TEMPORARILY_UNAVAILABLE,
                    "Too many documents of clients are being fetched.",
                    hint="Try again soon, or have an operator register the client.",
                )
            flight = asyncio.create_task(self._fetched(url), name="client document")
            self._flights[url] = flight
            flight.add_done_callback(lambda _: self._flights.pop(url, None))
        # Shielded: whoever waits may go away without taking the others' answer along.
        return _found(await asyncio.shield(flight))

    def forget(self, url: str) -> None:
        """Fetch it again when it is needed next."""
        self._read.pop(url, None)
        self._refused.pop(url, None)

    async def _fetched(self, url: str) -> Client | AuthorizationRefused:
        """A value either way, since perhaps nobody is left to catch it."""
        try:
            document = await self._documents.fetch(url)
            made = client_of(document.value, url)
        except (Malformed, NoDocument) as error:
            return self._useless(url, error.message)
        found = problems(made, self._proofs)
        if found:
            return self._useless(url, f"{'; '.join(found)}.")
        while len(self._read) >= MAX_DOCUMENTS:
            del self._read[next(iter(self._read))]
        self._read[url] = (self._clock.monotonic() + DOCUMENT_S, made)
        return made

    def _useless(self, url: str, why: str) -> AuthorizationRefused:
        error = AuthorizationRefused(
            Refusal.INVALID_CLIENT, f"The client's document is not usable: {why}"
        )
        while len(self._refused) >= MAX_DOCUMENTS:
            del self._refused[next(iter(self._refused))]
        self._refused[url] = (self._clock.monotonic() + REFUSED_S, error)
        return error


def _found(found: Client | AuthorizationRefused) -> Client:
    if isinstance(found, AuthorizationRefused):
        raise found.with_traceback(None)
    return found


__all__ = ["DOCUMENT_S", "MAX_DOCUMENTS", "MAX_FETCHES", "REFUSED_S", "ClientDocuments"]
