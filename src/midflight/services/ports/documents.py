"""Documents of others, by URL: key sets, metadata of issuers and of clients."""

from __future__ import annotations

from typing import Protocol

from midflight.domain.value import JSONObject, Value

DOCUMENT_BYTES = 65_536
"""Of metadata. Real ones are below 8 KiB."""
KEY_SET_BYTES = 262_144
"""Of a key set: certificates beside the keys make them large."""


class Document(Value):
    """A JSON object as served, and how long it may be kept.

    `max_age_s` is that of `Cache-Control` (0 for `no-store` and `no-cache`), None without one.
    """

    value: JSONObject
    max_age_s: int | None = None


class Documents(Protocol):
    """Fetches over the network without letting anybody choose what else is reached by it."""

    async def fetch(
        self, url: str, *, limit: int = DOCUMENT_BYTES, allow_private: bool = False
    ) -> Document:
        """Fetch one JSON object by https.

        Args:
            url: absolute, https, without credentials or fragment.
            limit: bytes of the body.
            allow_private: whether the host may be on this machine or in a private network; only
                for what an operator wrote into the settings, never for what a client names.

        Raises:
            NoDocument: anything else than such a document. The message says nothing about what
                is reachable from here; `reason` does, for operators.
        """
        ...


__all__ = ["DOCUMENT_BYTES", "KEY_SET_BYTES", "Document", "Documents"]
