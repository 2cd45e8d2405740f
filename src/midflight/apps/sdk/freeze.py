"""`Freeze`: a program stops at its next step when its agent is stopped.

    freeze = Freeze("https://midflight.example", headers=lambda method, url: {...})
    with freeze:
        for step in plan:
            freeze.look()      # or `await freeze.check()`; raises Frozen
            step()

It holds the gateway's control stream (`GET /freeze`) on a thread of its own, and fails closed: it
is frozen until the stream is open, when a revocation covers it, when the gateway refuses it, and
when its newest beat is older than the lease. A beat's age counts from when the stream was asked
for, by the clock that goes on while a machine sleeps: who delays the stream makes it older, not
longer.

It stops nobody who does not ask: it is for programs that want to stop. Nothing but Python's own
library; usable from threads and from asyncio. The other end is `apps/gateway/freezing.py`.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import json
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, ClassVar, Self, cast
from urllib.parse import urlsplit

from midflight.domain.errors import Interrupted, Misconfigured

PATH = "/freeze"
MAX_LINE = 65_536
MAX_LEASE_S = 60.0
_BACKOFF_S = (0.1, 5.0)

Headers = Callable[[str, str], Mapping[str, str]]
"""(method, URL) → what proves who one is: `Authorization`, and `DPoP` where the token is bound."""


class Frozen(Interrupted):
    """The agent may not go on. `revocation` is the id of what stops it, or empty."""

    code: ClassVar[str] = "frozen"


class _State:
    """What is known at one moment; replaced as a whole, so that no lock is needed to look."""

    __slots__ = ("deadline", "final", "reason", "revocation")

    def __init__(self, *, deadline: float, reason: str, revocation: str, final: bool) -> None:
        self.deadline = deadline
        self.reason = reason
        self.revocation = revocation
        self.final = final


class Freeze:
    """See the module.

    Args:
        url: the gateway's public URL; https, unless it is on this machine.
        headers: called for each connection, since tokens end and proofs are for one request.
        tls: context for https; the default verifies against the system's authorities.
        on_frozen: called on the freezing thread when it freezes; to cancel what is under way.
        boottime: seconds that go on while the machine sleeps.

    Raises:
        Misconfigured: the URL cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Headers,
        tls: ssl.SSLContext | None = None,
        on_frozen: Callable[[Frozen], None] | None = None,
        boottime: Callable[[], float] | None = None,
    ) -> None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme not in {"http", "https"} or not host:
            raise Misconfigured("The gateway's URL is none.", hint="https://HOST[:PORT]")
        if parts.scheme == "http" and not _is_here(host):
            raise Misconfigured(
                "A control stream of another machine goes over TLS, or anybody could thaw it.",
                hint="Use the gateway's https URL.",
            )
        self._host, self._port = host, parts.port
        self._tls = None if parts.scheme == "http" else tls or ssl.create_default_context()
        self._url = f"{parts.scheme}://{parts.netloc}{PATH}"
        self._headers = headers
        self._on_frozen = on_frozen
        self._boottime = boottime or _boottime
        self._state = _State(
            deadline=0.0, reason="The control stream is not open yet.", revocation="", final=False
        )
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._was_frozen = True
        self._thread: threading.Thread | None = None
        self._connection: http.client.HTTPConnection | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Hold the stream from now on. Idempotent."""
        if self._thread is None and not self._stop.is_set():
            self._thread = threading.Thread(target=self._run, name="midflight-freeze", daemon=True)
            self._thread.start()

    def wait_ready(self, seconds: float) -> bool:
        """Wait until the gateway has said whether one may go on. Blocks; False if it has not."""
        return self._ready.wait(seconds)

    def close(self) -> None:
        """Let go of the stream; frozen from now on."""
        self._stop.set()
        self._become(deadline=0.0, reason="The control stream was closed.", final=True)
        connection = self._connection
        if connection is not None and connection.sock is not None:
            _shut(connection)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(5.0)

    def look(self) -> None:
        """Raise `Frozen` if the program may not go on. Never blocks; from any thread."""
        state = self._state
        if state.reason:
            raise _frozen(state.reason, state.revocation)
        if self._boottime() >= state.deadline:
            raise _frozen("The gateway has not been heard for longer than the lease.", "")

    async def check(self) -> None:
        """`look`, for asynchronous code."""
        self.look()

    @property
    def frozen(self) -> bool:
        """Whether `look` would raise."""
        try:
            self.look()
        except Frozen:
            return True
        return False

    # The thread

    def _run(self) -> None:
        least, most = _BACKOFF_S
        backoff = least
        while not self._stop.is_set():
            try:
                if self._listen():
                    backoff = least
            except (OSError, http.client.HTTPException, ValueError):
                pass  # unheard is what it is; the lease counts on
            self._notice()
            if self._state.final or self._stop.wait(backoff):
                return
            backoff = min(backoff * 2, most)

    def _listen(self) -> bool:
        """Hold one stream until it ends; whether it began."""
        connection = self._connection = self._connect()
        try:
            nonce = secrets.token_hex(16)
            headers = {"Accept": "text/event-stream", "Midflight-Nonce": nonce}
            headers |= dict(self._headers("GET", self._url))
            asked = self._boottime()
            connection.request("GET", PATH, headers=headers)
            response = connection.getresponse()
            if response.status != 200:
                self._refused(response)
                return False
            return self._hear(response, nonce, asked)
        finally:
            connection.close()
            self._connection = None

    def _connect(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=10.0)
        return http.client.HTTPSConnection(self._host, self._port, timeout=10.0, context=self._tls)

    def _refused(self, response: http.client.HTTPResponse) -> None:
        body = _object(response.read(MAX_LINE))
        if response.status in {401, 403, 404}:
            said = body.get("message")
            reason = said if isinstance(said, str) and said else f"status {response.status}"
            self._become(deadline=0.0, reason=f"The gateway refuses: {reason}")
            self._ready.set()

    def _hear(self, response: http.client.HTTPResponse, nonce: str, asked: float) -> bool:
        """Read events until the stream ends or is of no use; whether it began."""
        lease = 0.0
        name = ""
        while not self._stop.is_set():
            line = response.readline(MAX_LINE + 1)
            if not line or len(line) > MAX_LINE:
                break
            text = line.rstrip(b"\r\n")
            if text.startswith(b"event: "):
                name = text[7:].decode("ascii", "replace")
            elif text.startswith(b"data: "):
                data = _object(text[6:])
                if not lease:
                    lease = _begun(name, data, nonce)
                    if self._connection is not None and self._connection.sock is not None:
                        self._connection.sock.settimeout(lease)
                    self._become(deadline=asked + lease)
                    self._ready.set()
                elif not self._heard(name, data, since=asked + lease):
                    return True  # it comes too late to be of use: open it anew
        return bool(lease)

    def _heard(self, name: str, data: dict[str, Any], *, since: float) -> bool:
        """One event; `since` is when the lease of the stream's first moment ends."""
        if name == "freeze":
            self._become(
                deadline=0.0,
                reason=str(data.get("reason") or "frozen"),
                revocation=str(data.get("revocation") or ""),
                final=data.get("final") is True,
            )
            return True
        deadline = since + _age(data.get("age_s"))
        if name == "thaw":
            self._become(deadline=deadline)
        elif name == "beat":
            self._renew(deadline)
        return self._boottime() < deadline

    def _renew(self, deadline: float) -> None:
        state = self._state
        if not state.reason and deadline > state.deadline:
            self._become(deadline=deadline)

    def _become(
        self, *, deadline: float, reason: str = "", revocation: str = "", final: bool = False
    ) -> None:
        if self._state.final and not final:
            return
        self._state = _State(deadline=deadline, reason=reason, revocation=revocation, final=final)
        self._notice()

    def _notice(self) -> None:
        """Tell of a freeze, once each time."""
        try:
            self.look()
        except Frozen as frozen:
            if not self._was_frozen and self._on_frozen is not None and not self._stop.is_set():
                self._on_frozen(frozen)
            self._was_frozen = True
        else:
            self._was_frozen = False


def _frozen(reason: str, revocation: str) -> Frozen:
    # The reason is somebody's words, and may end without a stop.
    return Frozen(
        reason if reason.endswith((".", "!", "?")) else f"{reason}.",
        revocation=revocation,
        hint="Do nothing more; it thaws by itself when this is over.",
    )


def _boottime() -> float:
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _object(text: bytes) -> dict[str, Any]:
    found = json.loads(text)
    if type(found) is not dict:
        raise ValueError("not an object")
    return cast("dict[str, Any]", found)


def _begun(name: str, data: dict[str, Any], nonce: str) -> float:
    """The lease of a stream that begins as this client asked for."""
    value = data.get("lease_s")
    if name != "hello" or data.get("nonce") != nonce:
        raise ValueError("an older stream, played again")
    # One that is longer than any gateway gives is none.
    if isinstance(value, int | float) and 0 < value <= MAX_LEASE_S:
        return float(value)
    raise ValueError("no lease")


def _age(value: object) -> float:
    if isinstance(value, int | float) and 0 <= value < 1e9:
        return float(value)
    raise ValueError("no age")


def _shut(connection: http.client.HTTPConnection) -> None:
    with contextlib.suppress(OSError):
        connection.sock.shutdown(socket.SHUT_RDWR)


__all__ = ["PATH", "Freeze", "Frozen"]
