"""Events to a syslog collector: TCP, TLS (RFC 5425), or a socket of this machine.

Not by UDP, which loses what it cannot deliver and says nothing. A stream says no more than that the
kernel took a batch: what a collector that breaks down had not read is lost with the connection, and
only its own disk helps against that. The file sink and OTLP know more.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path

from midflight.adapters.export.telling import told
from midflight.domain.errors import Unavailable
from midflight.domain.value import Value
from midflight.services.ports.export import Exportable
from midflight.wire.export import syslog
from midflight.wire.export.lines import Form, line

TIMEOUT_S = 10.0
"""For connecting, and for the kernel to take one batch."""
CLOSE_S = 2.0


class Collector(Value):
    """Where a collector listens: a host and port, by TLS or not, or a Unix socket."""

    host: str = ""
    port: int = 0
    tls: bool = False
    ca: Path | None = None
    path: Path | None = None


class SyslogSink:
    """See the module."""

    def __init__(self, collector: Collector, form: Form) -> None:
        self._collector = collector
        self._form = form
        self._writer: asyncio.StreamWriter | None = None
        self._reader: asyncio.StreamReader | None = None
        self._datagrams: socket.socket | None = None
        self._host = socket.gethostname()

    async def send(self, batch: Sequence[Exportable], *, now: float) -> None:
        """Send a batch over the connection that is open, or a new one."""
        messages = await asyncio.to_thread(self._messages, batch, now)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._send(messages)
        except (OSError, TimeoutError, ssl.SSLError) as error:
            self._abort()
            raise Unavailable(
                f"The syslog collector does not take events ({type(error).__name__}).",
                hint="Look whether it listens, and with which certificate.",
            ) from error

    async def close(self) -> None:
        """Close the connection. What the kernel has not taken is sent after the next start."""
        writer = self._writer
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError, ssl.SSLError, TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await writer.wait_closed()
        self._abort()

    def _abort(self) -> None:
        """Let go at once: a collector that reads no more would never let a connection close."""
        writer, self._writer, self._reader = self._writer, None, None
        if writer is not None:
            writer.transport.abort()
        if self._datagrams is not None:
            self._datagrams.close()
            self._datagrams = None

    def _messages(self, batch: Sequence[Exportable], now: float) -> list[bytes]:
        return [
            syslog.message(event, line(event, self._form), host=self._host, process=os.getpid())
            for event in told(batch, now=now)
        ]

    async def _send(self, messages: list[bytes]) -> None:
        if self._collector.path is not None and self._writer is None:
            await self._send_datagrams(self._collector.path, messages)
            return
        # A collector that went away shows as an end of what it sends, which is nothing otherwise.
        if self._writer is None or self._reader is None or self._reader.at_eof():
            await self.close()
            await self._connect()
        writer = self._writer
        assert writer is not None
        writer.write(syslog.framed(messages))
        await writer.drain()

    async def _send_datagrams(self, path: Path, messages: list[bytes]) -> None:
        if self._datagrams is None:
            made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            made.setblocking(False)
            self._datagrams = made
            made.connect(os.fspath(path))
        loop = asyncio.get_running_loop()
        for each in messages:
            await loop.sock_sendall(self._datagrams, each)

    async def _connect(self) -> None:
        collector = self._collector
        context = None
        if collector.tls:
            context = ssl.create_default_context(
                cafile=None if collector.ca is None else os.fspath(collector.ca)
            )
        self._reader, self._writer = await asyncio.open_connection(
            collector.host,
            collector.port,
            ssl=context,
            server_hostname=collector.host if collector.tls else None,
            limit=1_024,
        )
        # Taken is what the kernel has: what waits in this process would be lost with it.
        self._writer.transport.set_write_buffer_limits(high=0)


__all__ = ["CLOSE_S", "TIMEOUT_S", "Collector", "SyslogSink"]
