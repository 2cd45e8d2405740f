"""The small interface of both HTTP clients, and the form of a header that may leave.

`http_pool` (HTTP/1.1, the hot path) and `http2` (HTTP/2 and proxies) implement it; `mcp_http`
stands above. Nothing here does I/O.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Protocol
from urllib.parse import SplitResult, urlsplit

from midflight.domain.errors import Misconfigured, UpstreamBroken
from midflight.domain.value import Value
from midflight.services.ports.injection import NOTHING, Attachment

# RFC 9110 §5.6.2: a field name is a token. §5.5: a value is visible ASCII, space and tab; no
# other octet may pass, since a line break in a value would be a header of somebody else's making.
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?|")


class HttpTimeouts(Value):
    """Seconds. How long a whole call may take is the business of who makes it.

    Attributes:
        connect: TCP and TLS handshake together, waiting for a free connection included.
        finish: a response that has begun (its head, and its body unless it is read as a stream)
            must be complete this long after its first byte. Ends a response that drips.
        keep: how long an unused connection is kept for the next request.
    """

    connect: float = 10.0
    finish: float = 60.0
    keep: float = 4.0


class HttpLimits(Value):
    """What a response may cost.

    Attributes:
        head: bytes of status line and headers.
        headers: how many headers.
        body: bytes of a response that is read as a whole.
        buffer: bytes that may wait unread before the connection stops reading.
        connections: how many connections one upstream gets.
    """

    head: int = 32 * 1024
    headers: int = 100
    body: int = 16 * 1024 * 1024
    buffer: int = 256 * 1024
    connections: int = 2048


class Gate(Protocol):
    """The part of a `Flight` that a client needs."""

    def look(self) -> None:
        """Raise `Interrupted` if nothing may leave any more."""
        ...

    def left(self, nbytes: int) -> None:
        """Count bytes that have left."""
        ...

    def came(self, nbytes: int) -> None:
        """Count bytes that have come back."""
        ...

    def carried(self, close: Callable[[], None]) -> None:
        """Learn what ends the exchange from beside, at once. A client that cannot does not say."""
        ...


class BesideGate:
    """For what a call sends beside its own exchange: ending it is not ending the call."""

    __slots__ = ("_gate",)

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def look(self) -> None:
        """As the call's own."""
        self._gate.look()

    def left(self, nbytes: int) -> None:
        """As the call's own."""
        self._gate.left(nbytes)

    def came(self, nbytes: int) -> None:
        """As the call's own."""
        self._gate.came(nbytes)

    def carried(self, close: Callable[[], None]) -> None:
        """It is not what the call waits for."""


class OpenGate:
    """For Midflight's own messages (discovery, sessions), which no revocation of a run covers."""

    __slots__ = ()

    def look(self) -> None:
        """Let pass."""

    def left(self, nbytes: int) -> None:
        """Count nothing."""

    def came(self, nbytes: int) -> None:
        """Count nothing."""

    def carried(self, close: Callable[[], None]) -> None:
        """Nobody ends it from beside."""


OPEN_GATE = OpenGate()


class HttpResponse(Protocol):
    """A response whose head is there. `close` it in every case; closing is cheap and idempotent."""

    @property
    def status(self) -> int:
        """The status code; informational responses are not shown."""
        ...

    def header(self, name: bytes) -> str:
        """The first header of that lower-case name, or an empty text."""
        ...

    async def read(self) -> bytes:
        """The whole body, or what is left of it. `UpstreamBroken` beyond the limit."""
        ...

    async def chunk(self) -> bytes:
        """The next bytes of the body, never empty before its end."""
        ...

    def close(self) -> None:
        """Forget the response. Unless it was complete, the upstream sees the stream closed."""
        ...


class HttpClient(Protocol):
    """A client for one URL."""

    async def send(
        self,
        method: bytes,
        headers: bytes,
        body: bytes,
        *,
        gate: Gate,
        replay: bool = False,
        attachment: Attachment = NOTHING,
    ) -> HttpResponse:
        r"""Send one request and return its response when the head is there.

        Args:
            method: `POST`, `GET` or `DELETE`.
            headers: encoded header lines, each with its CR LF, beside those of every request.
            body: the whole body; empty for none.
            gate: looked at in the same turn of the loop as each write.
            replay: the request asks and changes nothing, so it may be sent again over a new
                connection when a kept one turns out to have died before any byte came back.
            attachment: placed into this request alone (headers, query, signers).

        Raises:
            UpstreamUnavailable: nothing left.
            LeaseUnavailable: nothing left, since what is attached cannot be sent as it is.
            UpstreamBroken: something left and no usable response came.
            Interrupted: by the gate.
        """
        ...

    def drain(self) -> None:
        """Close every connection when what it carries has ended."""
        ...

    async def close(self) -> None:
        """Close every connection; what is under way fails."""
        ...


def header_line(name: str, value: str) -> bytes:
    """One header line with its CR LF.

    Raises:
        ValueError: name or value is not what RFC 9110 allows. The value is not in the message.
    """
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r} is no name of an HTTP header")
    if _VALUE.fullmatch(value) is None:
        raise ValueError(f"the value of HTTP header {name} holds characters that may not be sent")
    return f"{name}: {value}\r\n".encode("ascii")


def header_lines(headers: Iterable[tuple[str, str]], *, upstream: str) -> bytes:
    """Encode headers that were made for one request.

    Raises:
        UpstreamBroken: one of them cannot be sent as it is.
    """
    try:
        return b"".join([header_line(name, value) for name, value in headers])
    except ValueError as error:
        raise UpstreamBroken(
            f"A request to upstream {upstream} was not sent, because {error}.",
            hint="Rename what the header was made from.",
        ) from None


def split_url(url: str) -> SplitResult:
    """Check an upstream's URL and take it apart.

    Raises:
        Misconfigured: not an absolute http or https URL, or one with user info or a fragment.
    """
    parts = urlsplit(url)
    problems: list[str] = []
    if parts.scheme not in {"http", "https"}:
        problems.append("its scheme is neither http nor https")
    if not parts.hostname:
        problems.append("it has no host")
    if "@" in parts.netloc:
        problems.append("it holds credentials; give them as a header")
    if parts.fragment:
        problems.append("it has a fragment")
    if any(not "!" <= character <= "~" for character in url):
        problems.append("it holds characters that must be percent-encoded")
    try:
        _ = parts.port
    except ValueError:
        problems.append("its port is not a number below 65536")
    if problems:
        raise Misconfigured(
            "The URL of an upstream cannot be used.",
            problems,
            hint="Use a URL such as https://tools.example.org/mcp.",
        )
    return parts


__all__ = [
    "OPEN_GATE",
    "BesideGate",
    "Gate",
    "HttpClient",
    "HttpLimits",
    "HttpResponse",
    "HttpTimeouts",
    "OpenGate",
    "header_line",
    "header_lines",
    "split_url",
]
