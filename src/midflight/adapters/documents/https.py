"""One JSON object by https, over an address that was looked at first (`exchange.py`).

No redirects, no content coding, no credentials; strict JSON, bounded in bytes and time.
"""

from __future__ import annotations

import asyncio
import re
import ssl

import structlog

from midflight.adapters.documents.exchange import (
    MAX_URL,
    NO_ANSWER,
    TIMEOUT_S,
    Exchange,
    NotAsked,
    Reach,
    Resolve,
    require_uncoded,
    why_no_answer,
)
from midflight.domain.errors import Malformed, NoDocument
from midflight.services.ports.documents import DOCUMENT_BYTES, Document
from midflight.wire import json

_JSON = re.compile(r"application/(?:[a-z0-9.+-]+\+)?json\Z")
_MAX_AGE = re.compile(r"(?:\A|,)\s*max-age\s*=\s*\"?(\d{1,9})\"?\s*(?=,|\Z)")

log = structlog.get_logger(__name__)


class HttpsDocuments:
    """The `Documents` of a plane."""

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        resolve: Resolve | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """`tls` verifies the servers; default: the authorities of the system."""
        self._exchange = Exchange(tls=tls, resolve=resolve, timeout_s=timeout_s)
        self._timeout = timeout_s

    async def fetch(
        self, url: str, *, limit: int = DOCUMENT_BYTES, allow_private: bool = False
    ) -> Document:
        """As the port says."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._fetch(url, limit=limit, reach=Reach(private=allow_private))
        except NO_ANSWER as error:
            reason = why_no_answer(error, timeout_s=self._timeout)
        except Malformed as error:
            reason = f"is not strict JSON: {error.message}"
        log.warning("document_refused", url=url[:MAX_URL], reason=reason)
        raise NoDocument(
            "A document that is needed could not be fetched.",
            reason=reason,
            hint="The log of the plane says why.",
        )

    async def _fetch(self, url: str, *, limit: int, reach: Reach) -> Document:
        asked = self._exchange.asked(
            "GET", url, limit=limit, reach=reach, headers=[("Accept", "application/json")]
        )
        async with asked as response:
            if response.status != 200:
                raise NotAsked(f"answered {response.status}; only 200 counts, and no redirect")
            require_uncoded(response)
            kind = response.header(b"content-type").partition(";")[0].strip().lower()
            if _JSON.match(kind) is None:
                raise NotAsked("is of a content type that is not JSON")
            declared = response.header(b"content-length")
            if declared and (not declared.isdigit() or int(declared) > limit):
                raise NotAsked(f"is larger than {limit} bytes")
            value = json.as_object(json.decode(await response.read()))
            if value is None:
                raise NotAsked("is not a JSON object")
            return Document(value=value, max_age_s=_max_age(response.header(b"cache-control")))


def _max_age(value: str) -> int | None:
    lowered = value.lower()
    if "no-store" in lowered or "no-cache" in lowered:
        return 0
    found = _MAX_AGE.search(lowered)
    return None if found is None else int(found[1])


__all__ = ["TIMEOUT_S", "HttpsDocuments", "Resolve"]
