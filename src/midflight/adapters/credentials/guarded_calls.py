"""Calls of hosts that an upstream named: over addresses that were looked at, small and short.

Takes the place of `calls.py` where a URL comes out of a document of somebody else. Nothing is said
twice: an assertion, a code and a proof are good for one request. Above: `oauth_discovery.py`,
`oauth_server.py`. Below: `adapters/documents/exchange.py`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence

import structlog

from midflight.adapters.credentials.calls import Answer
from midflight.adapters.documents.exchange import (
    MAX_URL,
    NO_ANSWER,
    TIMEOUT_S,
    Exchange,
    Reach,
    Resolve,
    Resolver,
    require_uncoded,
    why_no_answer,
)
from midflight.domain.errors import Misconfigured, Unavailable
from midflight.services.ports.documents import DOCUMENT_BYTES

log = structlog.get_logger(__name__)

# One for all backends, and none of those that fetch what strangers name.
_RESOLVER = Resolver()


class GuardedCalls:
    """`Sends` of one backend, which errors call `named`."""

    def __init__(
        self,
        *,
        named: str,
        reach: Reach,
        ca: str = "",
        resolve: Resolve | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """`ca` is a file of certificates that are trusted instead of the system's, or empty.

        Raises:
            Misconfigured: `ca` is no such file.
        """
        context: ssl.SSLContext | None = None
        try:
            if ca:
                context = ssl.create_default_context(cafile=ca)
        except (OSError, ssl.SSLError):
            raise Misconfigured(
                f"The CA file of {named} cannot be used.", hint="Give a PEM file that can be read."
            ) from None
        self._named, self._reach, self._timeout = named, reach, timeout_s
        self._exchange = Exchange(tls=context, resolve=resolve or _RESOLVER, timeout_s=timeout_s)

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        again: bool = False,
    ) -> Answer:
        """One call, made once; any status is an answer, a redirect too.

        Raises:
            Unavailable: no answer, one that is too large, or a URL that may not be asked; which
                of these is for the log, since whoever named the URL may be told the rest.
        """
        del again
        lines = {"Accept": "application/json", "User-Agent": "midflight", **(headers or {})}
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._exchange.asked(
                    method,
                    url,
                    limit=DOCUMENT_BYTES,
                    reach=self._reach,
                    headers=list(lines.items()),
                    body=body,
                ) as response,
            ):
                require_uncoded(response)
                return Answer(
                    status=response.status,
                    headers=_joined(response.headers),
                    body=await response.read(),
                )
        except NO_ANSWER as error:
            reason = why_no_answer(error, timeout_s=self._timeout)
        log.warning("call_refused", named=self._named, url=_bare(url), reason=reason)
        raise Unavailable(
            f"{self._named} does not answer, or names a place that may not be asked.",
            hint="The log of the plane says which URL and why; private = true lets it be in a "
            "private network.",
        )

    async def close(self) -> None:
        """Nothing is kept open."""


def _joined(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """By name in lower case; several of one name as one list (RFC 9110 §5.3)."""
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return {name: ", ".join(values) for name, values in found.items()}


def _bare(url: str) -> str:
    return url.partition("?")[0][:MAX_URL]


__all__ = ["GuardedCalls"]
