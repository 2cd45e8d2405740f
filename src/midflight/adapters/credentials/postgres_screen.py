"""What comes from a PostgreSQL server is looked at before asyncpg reads it: nothing there is safe.

asyncpg gives the administrator's password in clear to whoever asks for it, counts through as many
rounds of SCRAM as it is told, and never comes back from a message whose length is impossible (all
tried). Without TLS anybody on this machine may be who answers, so there SCRAM-SHA-256 is asked for,
in which the server proves that it knows the password and learns nothing of it; over a Unix socket
it may also let in without a password. Over TLS the server is who its certificate says.

A `Screen` stands between a transport and asyncpg's protocol; `screened` puts it there.
Above: `postgres.py`. Source: PostgreSQL, "Message Formats" and "Message Flow".
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import asyncpg

from midflight.domain.errors import Misconfigured

MAX_MESSAGE = 16 * 1024 * 1024
MAX_ROUNDS = 65_536
"""Of SCRAM: asyncpg counts them in the event loop, and PostgreSQL does with 4,096."""
_MAX_AUTH = 4_096
_HEADER = 5
_TYPES = frozenset(b"123ACDEGHIKNRSTVWZcdnstv")
_OK, _SASL, _CONTINUE, _FINAL = 0, 10, 11, 12
_AFTER = {_SASL: _OK, _CONTINUE: _SASL, _FINAL: _CONTINUE}
_ROUNDS = re.compile(rb",i=([0-9]{1,9})(?:,|\Z)")


class Refused(Exception):
    """What the server sends is not read. The text is ours."""


class Screen(asyncio.Protocol):
    """See the module. `inner` gets what has passed."""

    def __init__(self, inner: Any, *, over_tls: bool, may_trust: bool) -> None:
        self._inner = inner
        self._over_tls, self._may_trust = over_tls, may_trust
        self._transport: Any = None
        self._head = bytearray()
        self._left = 0
        self._is_in = False
        self._last = 0
        self.problem = ""
        """Why nothing more is read."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport
        self._inner.connection_made(transport)

    def over(self, transport: Any) -> None:
        """Begin where the inner one has begun."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Look at it, and hand it on."""
        if self.problem:
            return
        try:
            self._look(memoryview(data))
        except Refused as refused:
            self.problem = str(refused)
            self._transport.abort()
            return
        self._inner.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The end."""
        self._inner.connection_lost(exc)

    def eof_received(self) -> bool | None:
        """The server says no more."""
        answered: bool | None = self._inner.eof_received()
        return answered

    def pause_writing(self) -> None:
        """Too much waits to be sent."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """It has been sent."""
        self._inner.resume_writing()

    # Inside

    def _look(self, data: memoryview) -> None:
        while data:
            if self._left:
                skipped = min(self._left, len(data))
                self._left -= skipped
                data = data[skipped:]
                continue
            wanted = self._wanted() - len(self._head)
            self._head += data[:wanted]
            data = data[wanted:]
            if len(self._head) == self._wanted():
                self._message()

    def _wanted(self) -> int:
        """Bytes of a message that are looked at: its header, and all of one that authenticates."""
        if len(self._head) < _HEADER or self._head[0] != ord("R"):
            return _HEADER
        return 1 + self._length()

    def _length(self) -> int:
        length = int.from_bytes(self._head[1:_HEADER], "big", signed=True)
        # One that authenticates has a code, for the rest of which its header would wait for ever.
        least, most = (8, _MAX_AUTH) if self._head[0] == ord("R") else (4, MAX_MESSAGE)
        if self._head[0] not in _TYPES or not least <= length <= most:
            raise Refused("what answers there does not speak PostgreSQL's protocol")
        return length

    def _message(self) -> None:
        kind, length = self._head[0], self._length()
        if kind == ord("R") and len(self._head) == _HEADER:
            return  # the rest of it is waited for
        if kind == ord("R"):
            self._authentication(bytes(self._head[_HEADER:]))
        else:
            self._left = length - 4
        self._head.clear()

    def _authentication(self, body: bytes) -> None:
        if self._is_in or len(body) < 4:
            raise Refused("what answers there does not speak PostgreSQL's protocol")
        code, before = int.from_bytes(body[:4], "big"), self._last
        self._last = code
        # Each once and in its order: asyncpg takes none of it amiss.
        if code in _AFTER and before != _AFTER[code]:
            raise Refused("what answers there does not speak PostgreSQL's protocol")
        if code == _CONTINUE:
            rounds = _ROUNDS.search(body)
            if rounds is None or not 0 < int(rounds[1]) <= MAX_ROUNDS:
                raise Refused(f"it wants more than {MAX_ROUNDS:,} rounds of SCRAM, or none")
        elif code == _OK:
            if not (before == _FINAL or self._over_tls or self._may_trust):
                raise Refused("it lets in without proving that it knows the password")
            self._is_in = True
        elif code not in {_SASL, _FINAL} and not self._over_tls:
            raise Refused("it wants the password in another way than SCRAM-SHA-256, without TLS")


class _Transport:
    """A transport whose next protocol is screened."""

    def __init__(self, inner: Any, screen: Callable[[Any], Screen]) -> None:
        self._inner, self._screen = inner, screen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def set_protocol(self, protocol: Any) -> None:
        """Over TLS, asyncpg begins by itself and then takes the place of what negotiated."""
        screen = self._screen(protocol)
        screen.over(self._inner)
        self._inner.set_protocol(screen)


class _Loop:
    """The running event loop, whose connections are screened."""

    def __init__(self, *, over_tls: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self._over_tls = over_tls
        self.screens: list[Screen] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def create_connection(self, make: Callable[[], Any], *args: Any, **more: Any) -> Any:
        """Over TCP. What negotiates TLS is followed by `start_tls`."""
        if self._over_tls:
            return await self._loop.create_connection(make, *args, **more)
        inner = make()
        screen = self._screened(inner, may_trust=False)
        transport, _ = await self._loop.create_connection(lambda: screen, *args, **more)
        return transport, inner

    async def create_unix_connection(self, make: Callable[[], Any], path: str) -> Any:
        """Over a socket file."""
        inner = make()
        screen = self._screened(inner, may_trust=True)
        transport, _ = await self._loop.create_unix_connection(lambda: screen, path)
        return transport, inner

    async def start_tls(self, *args: Any, **more: Any) -> Any:
        """The same, and what follows is screened."""
        made = await self._loop.start_tls(*args, **more)
        return made and _Transport(made, lambda inner: self._screened(inner, may_trust=False))

    def _screened(self, inner: Any, *, may_trust: bool) -> Screen:
        screen = Screen(inner, over_tls=self._over_tls, may_trust=may_trust)
        self.screens.append(screen)
        return screen


async def screened(*dsn: None, credential: str, **where: Any) -> Any:
    """`asyncpg.connect` whose server is screened.

    Args:
        dsn: None, as a pool of asyncpg gives it.
        credential: whose administrator connects, for errors.
        where: as for `asyncpg.connect`; a server that does not take TLS is refused by asyncpg.

    Raises:
        Misconfigured: what answers there is not read.
    """
    connecting: Any = asyncpg
    loop = _Loop(over_tls=bool(where.get("ssl")))
    try:
        return await connecting.connect(*dsn, **{**where, "loop": loop})
    except Exception:  # whatever the driver makes of a connection that was cut
        problem = next((screen.problem for screen in loop.screens if screen.problem), "")
        if not problem:
            raise
    raise Misconfigured(
        f"The administrator of credential {credential} does not sign in: {problem}.",
        hint="Look at who listens there. Without TLS, the server's pg_hba.conf must ask for "
        "scram-sha-256.",
    )


__all__ = ["MAX_MESSAGE", "MAX_ROUNDS", "Refused", "Screen", "screened"]
