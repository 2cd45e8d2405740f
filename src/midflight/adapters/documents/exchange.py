"""One request to a host that somebody else named, over an address that was looked at first.

The name is resolved once, every address is judged, and the connection goes to an address that
passed: an answer of the DNS that changes in between changes nothing. No redirects, no proxies of
the environment, no content coding, no cookies, one request a connection, bounded in bytes and time.
Above: `https.py`, which fetches documents, and `adapters/credentials/guarded_calls.py`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from urllib.parse import urlsplit

from midflight.adapters.documents.addresses import problem_of
from midflight.adapters.upstream.http_client import (
    OPEN_GATE,
    HttpLimits,
    HttpTimeouts,
    header_line,
)
from midflight.adapters.upstream.http_connection import Connection
from midflight.adapters.upstream.http_response import Response
from midflight.domain.errors import UpstreamBroken
from midflight.domain.value import Value

TIMEOUT_S = 5.0
"""For everything together: resolving, connecting, and the last byte."""
MAX_URL = 2_048
MAX_LOOKUPS = 4
"""Names that are looked up at once; further ones wait, within their own time."""
_HOST = re.compile(r"(?:[a-z0-9._-]{1,253}|[0-9a-f:.]{2,45})\Z")
_URL = re.compile(r"[\x21-\x7e]+\Z")

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""(host, port) → addresses"""


class Resolver:
    """Addresses of hosts, in the order of the system's resolver (RFC 6724).

    Looking up blocks a thread, as long as the name's own servers please, and cannot be cut off. So
    it has few threads of its own: those of the event loop are for all of the plane.
    """

    def __init__(self) -> None:
        """A thread is started when one is needed."""
        self._threads = ThreadPoolExecutor(MAX_LOOKUPS, thread_name_prefix="resolve")

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """See `Resolve`."""
        look = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, look)
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Reach(Value):
    """Where a request may go besides https to public addresses.

    Attributes:
        private: to this machine and to private networks, by https.
        loopback: to this machine by http as well.
    """

    private: bool = False
    loopback: bool = False


PUBLIC = Reach()


class Exchange:
    """See the module."""

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        resolve: Resolve | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """`tls` verifies the servers; default: the authorities of the system."""
        self._tls = tls
        self._resolve = resolve or Resolver()
        self._timeout = timeout_s

    @asynccontextmanager
    async def asked(
        self,
        method: str,
        url: str,
        *,
        limit: int,
        reach: Reach = PUBLIC,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> AsyncGenerator[Response]:
        """The response to one request, its head there, its body not read. The caller bounds time.

        Args:
            method: of HTTP.
            url: absolute.
            limit: bytes of the response's body.
            reach: where it may go.
            headers: besides `Host`, `Connection` and what concerns the length.
            body: the whole body.

        Raises:
            NotAsked: the URL, or an address behind it, is none that may be asked.
            OSError, ssl.SSLError, UnicodeError, UpstreamBroken: no answer that can be used.
        """
        scheme, host, port, target = _parts(url, reach)
        addresses = await self._resolve(host, port)
        if not addresses:
            raise NotAsked("has no address")
        for address in addresses:
            problem = problem_of(address, allow_private=reach.private or reach.loopback)
            if not problem and not reach.private and not _is_public_or_here(address):
                problem = "is in a private network"
            if not problem and scheme == "http" and not _is_here(address):
                problem = "is not this machine, and http goes nowhere else"
            if problem:
                # One bad address spoils the name: whoever answers so means to get at it.
                raise NotAsked(f"resolves to an address that {problem}")
        connection = await self._first(
            host, port, addresses, limit=limit, encrypted=scheme == "https"
        )
        try:
            response = connection.begin(OPEN_GATE)
            authority = f"[{host}]" if ":" in host else host
            usual = {"https": 443, "http": 80}[scheme]
            lines = [("Host", authority if port == usual else f"{authority}:{port}"), *headers]
            if body:
                lines.append(("Content-Length", str(len(body))))
            lines += [("Accept-Encoding", "identity"), ("Connection", "close")]
            try:
                head = b"".join(header_line(name, value) for name, value in lines)
            except ValueError:
                raise NotAsked("cannot be asked with these headers") from None
            first = f"{method} {target} HTTP/1.1\r\n".encode("ascii")
            await connection.write(first + head + b"\r\n", body, OPEN_GATE)
            await response.head()
            yield response
        finally:
            connection.abort()

    async def _first(
        self, host: str, port: int, addresses: Sequence[str], *, limit: int, encrypted: bool
    ) -> Connection:
        """A connection to the first address that takes one; all of them have been judged."""
        for address in addresses[:-1]:
            try:
                return await self._connect(host, port, address, limit=limit, encrypted=encrypted)
            except ssl.SSLError:
                raise
            except OSError:
                continue
        return await self._connect(host, port, addresses[-1], limit=limit, encrypted=encrypted)

    async def _connect(
        self, host: str, port: int, address: str, *, limit: int, encrypted: bool
    ) -> Connection:
        loop = asyncio.get_running_loop()
        if encrypted and self._tls is None:
            # Reading the system's authorities takes milliseconds; many planes never fetch.
            self._tls = ssl.create_default_context()

        def make() -> Connection:
            return Connection(
                peer=host,
                limits=HttpLimits(head=16_384, headers=100, body=limit, buffer=limit + 1),
                timeouts=HttpTimeouts(connect=self._timeout, finish=self._timeout),
                on_free=_nothing,
                on_gone=_nothing,
            )

        if not encrypted:
            _, connection = await loop.create_connection(make, address, port)
        else:
            _, connection = await loop.create_connection(
                make, address, port, ssl=self._tls, server_hostname=host
            )
        return connection


def require_uncoded(response: Response) -> None:
    """Refuse a content coding: what is unpacked is not capped by what came."""
    if response.header(b"content-encoding").lower() not in {"", "identity"}:
        raise NotAsked("came in a content coding that was not asked for")


class NotAsked(Exception):
    """Why nothing was asked; for logs."""


NO_ANSWER = (OSError, UnicodeError, NotAsked, UpstreamBroken)
"""What `Exchange.asked`, and a bound of time around it, raise (`ssl.SSLError` is an `OSError`)."""


def why_no_answer(error: Exception, *, timeout_s: float) -> str:
    """One of `NO_ANSWER` in words that go on after a name; not for strangers who chose the URL."""
    match error:
        case TimeoutError():
            return f"took over {timeout_s:g} s"
        case ssl.SSLCertVerificationError():
            return f"shows a certificate that does not verify ({error.verify_message})"
        case UpstreamBroken():
            return error.message
        case NotAsked():
            return str(error)
        case _:
            return f"cannot be connected to ({type(error).__name__})"


def _nothing(_: Connection) -> None:
    """One exchange a connection: nobody waits for the next."""


def _is_here(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


def _is_public_or_here(address: str) -> bool:
    return not problem_of(address, allow_private=False) or _is_here(address)


def _parts(url: str, reach: Reach) -> tuple[str, str, int, str]:
    """(scheme, host, port, request target) of a URL that is nothing else besides."""
    if len(url) > MAX_URL or _URL.match(url) is None or "\\" in url:
        raise NotAsked("is not a plain URL")
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80}.get(parts.scheme, 443)
    except ValueError:
        raise NotAsked("is not a URL") from None
    host = (parts.hostname or "").rstrip(".")
    allowed = {"https", "http"} if reach.loopback else {"https"}
    if parts.scheme not in allowed or "@" in parts.netloc or parts.fragment or "#" in url:
        raise NotAsked("is not an https URL without credentials and fragment")
    if _HOST.match(host) is None:
        raise NotAsked("names no host")
    return (
        parts.scheme,
        host,
        port,
        (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
    )


__all__ = [
    "MAX_LOOKUPS",
    "MAX_URL",
    "NO_ANSWER",
    "PUBLIC",
    "TIMEOUT_S",
    "Exchange",
    "NotAsked",
    "Reach",
    "Resolve",
    "Resolver",
    "require_uncoded",
    "why_no_answer",
]
