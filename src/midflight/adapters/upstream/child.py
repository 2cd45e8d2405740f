"""A child process that speaks lines: spawned with little, read with limits, stopped for sure.

It gets its own session and process group, the few environment variables in `INHERITED` and those
that are configured, three pipes and nothing else of the gateway. When it ends, whatever is left of
its group is killed before it is reaped, so that the group's number cannot have been given to
somebody else. When the gateway dies, the kernel kills it (`launch`).

Stated residual: a grandchild that makes a session of its own leaves the group; only a container or
a cgroup around the command holds such a one. Above stands `mcp_stdio`.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

from midflight.domain.errors import UpstreamUnavailable
from midflight.domain.value import Value

INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")
_LAUNCH = str(Path(__file__).with_name("launch.py"))
_STDERR_KEPT = 64 * 1024
# A process that has exited may still have a last answer in its pipe.
_DRAIN_SECONDS = 0.5


class ChildSpec(Value):
    """What to run and how.

    Attributes:
        command: a program's path, or a name that is found on the child's PATH.
        env: variables beside those in `INHERITED`; may hold credentials.
        max_line: bytes of one line on stdout, beyond which the child is killed.
        close_grace, term_grace: seconds between closing stdin, SIGTERM and SIGKILL.
    """

    command: str
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    cwd: str | None = None
    max_line: int = 16 * 1024 * 1024
    close_grace: float = 2.0
    term_grace: float = 2.0

    def __repr__(self) -> str:
        return f"ChildSpec(command={self.command!r})"

    def environment(self) -> dict[str, str]:
        """The whole environment of the child."""
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        return inherited | self.env


class Child:
    """One running child. Made by `spawn`.

    `on_line` gets each line of stdout without its end; `on_end` is called once, when the process
    has ended and its output is read, with a sentence about how it ended.
    """

    def __init__(
        self,
        spec: ChildSpec,
        process: subprocess.Popen[bytes],
        *,
        on_line: Callable[[bytes], None],
        on_end: Callable[[str], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._spec = spec
        self._process = process
        self._on_line = on_line
        self._on_end = on_end
        self._stdin: asyncio.WriteTransport | None = None
        self._stdout: asyncio.ReadTransport | None = None
        self._stderr: asyncio.ReadTransport | None = None
        self._errors: collections.deque[bytes] = collections.deque()
        self._errors_size = 0
        self._pidfd = os.pidfd_open(process.pid)
        self._exited = self._loop.create_future()
        self._ended = False
        self._output_over = False
        self._why = ""
        self._writable = asyncio.Event()
        self._writable.set()
        self._stopping: asyncio.Task[None] | None = None
        self._loop.add_reader(self._pidfd, self._has_exited)

    @classmethod
    async def spawn(
        cls,
        spec: ChildSpec,
        *,
        peer: str,
        on_line: Callable[[bytes], None],
        on_end: Callable[[str], None],
    ) -> Child:
        """Start it.

        Raises:
            UpstreamUnavailable: there is no such program, or it cannot be started.
        """
        environment = spec.environment()
        program = _resolved(spec.command, environment, peer=peer)
        launcher = [sys.executable, "-I", "-S", "-B", _LAUNCH, str(os.getpid()), program]
        try:
            # About a millisecond: vfork and exec, nothing of this process runs in the child.
            process = subprocess.Popen(  # noqa: ASYNC220, S603 -- see the line above; no shell
                [*launcher, spec.command, *spec.args],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                cwd=spec.cwd,
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            raise UpstreamUnavailable(
                f"The program of upstream {peer} cannot be started ({error.strerror}).",
                hint="Check its path, its permissions and its working directory.",
            ) from None
        child = cls(spec, process, on_line=on_line, on_end=on_end)
        try:
            await child._connect()
        except BaseException:
            child.kill("it could not be connected to")
            # Killed, so this is soon; and nothing is left behind when the error goes on.
            await asyncio.shield(child._exited)
            child._end()
            raise
        return child

    @property
    def pid(self) -> int:
        """Its process id, which is also its group and its session."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can be written to."""
        return not self._ended and not self._exited.done() and self._stopping is None

    def stderr_tail(self) -> str:
        """The last it wrote to stderr, for operators; hostile text, may hold secrets."""
        return b"".join(self._errors).decode("utf-8", "replace")

    async def writable(self) -> None:
        """Wait until it has read enough of what was written."""
        await self._writable.wait()

    def write(self, line: bytes) -> None:
        """Hand over one line, its end included. Nothing happens if the child is gone."""
        if self._stdin is not None and not self._stdin.is_closing():
            self._stdin.write(line)

    def kill(self, why: str) -> None:
        """Kill the whole group now; `why` becomes the sentence of its end."""
        self._why = self._why or why
        self._signal(signal.SIGKILL)

    async def stop(self) -> None:
        """Close stdin, then SIGTERM, then SIGKILL to the group, each after its grace.

        Idempotent; finishes even if the caller is cancelled.
        """
        self._why = self._why or "it was stopped"
        if self._stopping is None:
            self._stopping = self._loop.create_task(self._stop())
        await asyncio.shield(self._stopping)

    # Inside

    async def _stop(self) -> None:
        if self._stdin is not None:
            self._stdin.close()
        if not await self._exits_within(self._spec.close_grace):
            self._why = self._why or "it closed its output"
            self._signal(signal.SIGTERM)
            if not await self._exits_within(self._spec.term_grace):
                self._signal(signal.SIGKILL)
                await asyncio.shield(self._exited)
        self._end()

    async def _exits_within(self, seconds: float) -> bool:
        await asyncio.wait({self._exited}, timeout=seconds)
        return self._exited.done()

    def _signal(self, number: signal.Signals) -> None:
        # Not reaped yet, so the group's number is still ours.
        if not self._exited.done():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    async def _connect(self) -> None:
        stdin, stdout, stderr = self._process.stdin, self._process.stdout, self._process.stderr
        assert stdin is not None
        assert stdout is not None
        assert stderr is not None
        self._stdin, _ = await self._loop.connect_write_pipe(lambda: _Input(self._writable), stdin)
        self._stdout = await self._read(
            stdout, _Lines(self._spec.max_line, self._on_line, self._line_too_long, self._eof)
        )
        self._stderr = await self._read(stderr, _Ring(self._keep_error))

    async def _read(self, pipe: IO[bytes], protocol: asyncio.Protocol) -> asyncio.ReadTransport:
        transport, _ = await self._loop.connect_read_pipe(lambda: protocol, pipe)
        return transport

    def _has_exited(self) -> None:
        """The kernel says that the process has ended."""
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        # The leader is a zombie and holds the group's number: end the rest, then reap it.
        self._signal(signal.SIGKILL)
        code = self._process.wait()
        self._why = self._why or f"it exited with status {code}"
        self._exited.set_result(None)
        if self._output_over:
            self._end()
        else:
            self._loop.call_later(_DRAIN_SECONDS, self._end)

    def _eof(self) -> None:
        self._output_over = True
        if self._exited.done():
            self._end()
        elif self._stopping is None:
            # It will never answer again. Most often it is just about to exit; if not, it is not
            # left running deaf and mute.
            self._stopping = self._loop.create_task(self._stop())

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        process = self._process
        for transport, pipe in (
            (self._stdin, process.stdin),
            (self._stdout, process.stdout),
            (self._stderr, process.stderr),
        ):
            if transport is not None:
                transport.close()
            elif pipe is not None:
                pipe.close()
        self._writable.set()
        self._on_end(self._why)

    def _line_too_long(self) -> None:
        self.kill(f"it sent a line of over {self._spec.max_line} bytes")

    def _keep_error(self, data: bytes) -> None:
        self._errors.append(data)
        self._errors_size += len(data)
        while self._errors_size > _STDERR_KEPT and len(self._errors) > 1:
            self._errors_size -= len(self._errors.popleft())


def _resolved(command: str, environment: dict[str, str], *, peer: str) -> str:
    program = shutil.which(command, path=environment.get("PATH", os.defpath))
    if program is None:
        raise UpstreamUnavailable(
            f"The program of upstream {peer} was not found.",
            hint="Give its full path, or set PATH in the upstream's environment.",
        )
    return str(Path(program).absolute())


class _Input(asyncio.BaseProtocol):
    """The gateway's end of stdin: only flow control."""

    def __init__(self, writable: asyncio.Event) -> None:
        self._writable = writable

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._writable.set()


class _Lines(asyncio.Protocol):
    """Splits a stream into lines of bounded length."""

    def __init__(
        self,
        limit: int,
        on_line: Callable[[bytes], None],
        on_excess: Callable[[], None],
        on_eof: Callable[[], None],
    ) -> None:
        self._limit = limit
        self._on_line = on_line
        self._on_excess = on_excess
        self._on_eof = on_eof
        self._parts: list[bytes] = []
        self._size = 0
        self._deaf = False

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        first, *rest = data.split(b"\n")
        self._parts.append(first)
        self._size += len(first)
        if self._size > self._limit:
            self._refuse()
            return
        for piece in rest:
            line = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            self._parts = [piece]
            self._size = len(piece)
            if line and not line.isspace():
                self._on_line(line)
            if self._size > self._limit:
                self._refuse()
                return

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._on_eof()

    def _refuse(self) -> None:
        self._deaf = True
        self._parts = []
        self._on_excess()


class _Ring(asyncio.Protocol):
    """Drains stderr, so that a child which writes much does not stand still."""

    def __init__(self, keep: Callable[[bytes], None]) -> None:
        self._keep = keep

    def data_received(self, data: bytes) -> None:
        self._keep(data[-_STDERR_KEPT:])


__all__ = ["INHERITED", "Child", "ChildSpec"]
