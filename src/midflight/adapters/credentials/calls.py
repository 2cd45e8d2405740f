"""Calls of the HTTP APIs of backends: capped, timed, never redirected, silent about what was said.

A backend's answer may hold a secret, its own or one that it echoes, so no error made here repeats
a byte of one. Above: every backend but `ssh`. Below: `httpx2`, which reads no proxy variables here.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import Protocol, cast

import httpx2

from midflight.domain.errors import Malformed, Misconfigured, Unavailable
from midflight.domain.value import Discreet, JSONObject, Value
from midflight.wire import json

MAX_DEPTH = 16


class CallLimits(Value):
    """What one call may cost.

    Attributes:
        connect_s, total_s: seconds, for the connection and for the whole call.
        bytes: of an answer's body.
        tries: how often a call that may be repeated is made.
        pause_s: seconds before the second try; each further pause is twice as long.
    """

    connect_s: float = 5.0
    total_s: float = 8.0
    bytes: int = 256 * 1024
    tries: int = 3
    pause_s: float = 0.05


LIMITS = CallLimits()


class Answer(Discreet):
    """An answer as it came. Header names are in lower case."""

    shown = ("status",)

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> JSONObject:
        """The body as a JSON object, empty if it is none: whoever needs a member misses it then."""
        try:
            value = json.decode(self.body, max_depth=MAX_DEPTH)
        except Malformed:
            return {}
        return value if isinstance(value, dict) else {}

    def text(self, *path: str) -> str:
        """A text in nested objects of the JSON body, or an empty text."""
        inner = self.json()
        for name in path[:-1]:
            inner = member(inner, name)
        value = inner.get(path[-1])
        return value if isinstance(value, str) else ""


class Sends(Protocol):
    """Makes calls of HTTP: `Calls`, or `GuardedCalls` where others name the URLs."""

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        again: bool = False,
    ) -> Answer:
        """One call; see `Calls.send`."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class Calls:
    """Calls of one backend, which errors call `named`."""

    def __init__(self, *, named: str, ca: str = "", limits: CallLimits = LIMITS) -> None:
        """`ca` is a file of certificates that are trusted instead of the system's, or empty.

        Raises:
            Misconfigured: `ca` is no such file.
        """
        try:
            context = ssl.create_default_context(cafile=ca or None)
        except (OSError, ssl.SSLError):
            raise Misconfigured(
                f"The CA file of {named} cannot be used.", hint="Give a PEM file that can be read."
            ) from None
        self._named, self._limits = named, limits
        self._client = httpx2.AsyncClient(
            verify=context,
            trust_env=False,
            follow_redirects=False,
            timeout=httpx2.Timeout(limits.total_s, connect=limits.connect_s),
            # What is unpacked is not capped by what came.
            headers={"Accept-Encoding": "identity", "User-Agent": "midflight"},
        )

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        again: bool = False,
    ) -> Answer:
        """One call; any status is an answer.

        Args:
            method: of HTTP.
            url: absolute.
            headers: further headers.
            body: the whole body.
            again: the call may be repeated if it fails, or is answered with 429, 502, 503 or 504.

        Raises:
            Unavailable: no answer, or one that is too large.
        """
        try:
            request = self._client.build_request(
                method, url, headers=dict(headers or {}), content=body
            )
        except (UnicodeError, httpx2.InvalidURL):
            # Of what it said before: a token that is no text of a header, for one.
            raise Unavailable(f"{self._named} gave something that cannot be said to it.") from None
        for attempt in range(self._limits.tries):
            last = attempt + 1 == self._limits.tries
            try:
                answer = await self._once(request)
            except httpx2.ConnectError:
                # Nothing has left, so whatever it is, it may be said again.
                if last:
                    raise self._silent() from None
            except (httpx2.HTTPError, TimeoutError, ssl.SSLError):
                if last or not again:
                    raise self._silent() from None
            else:
                if last or not again or answer.status not in {429, 502, 503, 504}:
                    return answer
            await asyncio.sleep(self._limits.pause_s * 2**attempt)
        raise self._silent()

    async def _once(self, request: httpx2.Request) -> Answer:
        async with asyncio.timeout(self._limits.total_s):
            response = await self._client.send(request, stream=True)
            try:
                body = bytearray()
                async for chunk in response.aiter_raw():
                    body += chunk
                    if len(body) > self._limits.bytes:
                        raise Unavailable(
                            f"{self._named} answers with more than {self._limits.bytes} bytes.",
                            hint="Check that its URL is that of the API.",
                        )
            finally:
                await response.aclose()
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(status=response.status_code, headers=headers, body=bytes(body))

    def _silent(self) -> Unavailable:
        return Unavailable(
            f"{self._named} does not answer.", hint="Check its address, its CA and the network."
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def member(body: JSONObject, name: str) -> JSONObject:
    """A member that is an object, or an empty one."""
    value = body.get(name)
    return cast("JSONObject", value) if isinstance(value, dict) else {}


def texts(body: JSONObject, name: str) -> list[str]:
    """The texts in a member that is an array, or none."""
    value = body.get(name)
    items = cast("list[object]", value) if isinstance(value, list) else []
    return [item for item in items if isinstance(item, str)]


def failure(named: str, doing: str, status: int, *, hint: str = "") -> Exception:
    """What a failing status means: `Misconfigured` where asking again is no use."""
    message = f"{named} answers {status} to {doing}."
    if status >= 500 or status in {408, 425, 429}:
        return Unavailable(message, hint=hint)
    return Misconfigured(message, hint=hint)


__all__ = ["LIMITS", "Answer", "CallLimits", "Calls", "Sends", "failure", "member", "texts"]
