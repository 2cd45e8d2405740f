"""Documents of others, fetched by URL: metadata of clients, keys of issuers.

Whoever implements it keeps the rules of identity.md §8: https only, the address that was checked is
the one that is connected to, nothing private, no redirects, bounded in size and time.
"""

from __future__ import annotations

from typing import Protocol

from midflight.domain.value import JSONObject


class ClientDocuments(Protocol):
    """Fetches one JSON document."""

    async def fetch(self, url: str) -> JSONObject:
        """The JSON object at an https URL.

        Raises:
            Malformed: the URL is not one to fetch, or what is there is no JSON object.
            UpstreamUnavailable: it cannot be had in time or in bounds.
        """
        ...


__all__ = ["ClientDocuments"]
