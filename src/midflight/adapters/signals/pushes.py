"""Pushes SETs by https (RFC 8935 §2), over an address that was looked at first.

Where to is said by a receiver, so the URL is a stranger's: nothing inside is reached by it, and
nothing that an endpoint answers is told to anybody but operators.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from typing import Final
from urllib.parse import urlsplit

from midflight.adapters.documents.addresses import problem_of
from midflight.adapters.documents.exchange import (
    MAX_URL,
    NO_ANSWER,
    Exchange,
    Reach,
    Resolve,
    why_no_answer,
)
from midflight.services.ports.ssf_delivery import Carried, Pushed
from midflight.wire.ssf.polls import PUSH_TYPE, decode_refused

TIMEOUT_S: Final = 10.0
_MAX_ANSWER: Final = 16_384


class HttpsPushes:
    """The `Pushes` of a plane."""

    def __init__(
        self,
        *,
        reach: Reach,
        tls: ssl.SSLContext | None = None,
        resolve: Resolve | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """`reach` is where receivers may be; `tls` verifies them, by default as the system does."""
        self._reach = reach
        self._timeout = timeout_s
        self._exchange = Exchange(tls=tls, resolve=resolve, timeout_s=timeout_s)

    def problem(self, url: str) -> str:
        """See `Pushes`. What a name resolves to is judged at each push."""
        allowed = {"https", "http"} if self._reach.loopback else {"https"}
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname or "", parts.port
        except ValueError:
            return "is no URL"
        if len(url) > MAX_URL or not host or not url.isascii() or " " in url:
            return "is no absolute URL of at most 2,048 plain characters"
        if parts.scheme not in allowed:
            return "is not https"
        if "@" in parts.netloc or parts.fragment:
            return "has credentials or a fragment in it"
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return ""
        private = self._reach.private or self._reach.loopback
        return problem_of(host, allow_private=private)

    async def push(self, url: str, text: str, *, authorization: str) -> Pushed:
        """See `Pushes`. 202 is success and 400 says why not; all else is tried again."""
        headers = [("Content-Type", PUSH_TYPE), ("Accept", "application/json")]
        if authorization:
            headers.append(("Authorization", authorization))
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._exchange.asked(
                    "POST",
                    url,
                    limit=_MAX_ANSWER,
                    reach=self._reach,
                    headers=headers,
                    body=text.encode("ascii"),
                ) as response,
            ):
                # Some receivers answer 200 or 204, which says the same (RFC 9110 §15.3).
                if response.status in {200, 202, 204}:
                    return Pushed(outcome=Carried.TAKEN)
                why = f"answered {response.status}"
                if response.status == 400:
                    err, description = decode_refused(await response.read())
                    if err and err != "authentication_failed":
                        return Pushed(outcome=Carried.REFUSED, why=f"{err}: {description}")
                    why = err or why
        except NO_ANSWER as error:
            why = why_no_answer(error, timeout_s=self._timeout)
        return Pushed(outcome=Carried.FAILED, why=why)


__all__ = ["TIMEOUT_S", "HttpsPushes"]
