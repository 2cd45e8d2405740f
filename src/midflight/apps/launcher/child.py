"""The launched process and everything below it: started stopped, let go, signalled, ended.

Below: `gate.py`. Above: `launching.py`. Linux only.
"""

from __future__ import annotations

import ctypes
import json
import os
import pwd
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from midflight.apps.control.processes import end_descendants
from midflight.domain.errors import Unavailable

_GATE = Path(__file__).with_name("gate.py")
# linux/prctl.h
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36


def hide() -> None:
    """Show nothing of this process to others of its user: neither memory nor environment.

    The command runs as that user and descends from here: /proc/PID/environ of the launcher would
    give it all that its own environment leaves out, and ptrace(2) the launcher's standing as an
    operator. It is dumpable again once it has executed.

    Raises:
        Unavailable: the kernel does not do it.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise Unavailable("This system cannot hide the launcher from what it launches.")


class Child:
    """A command, started and waiting at the gate."""

    def __init__(
        self,
        program: str,
        command: Sequence[str],
        *,
        user: pwd.struct_passwd | None = None,
        shut: bool = True,
    ) -> None:
        """`program` is the resolved path of `command[0]`; `user` is whom it runs as.

        `shut` keeps it off the user's other processes and from gaining privileges (`gate.py`).

        Raises:
            Unavailable: it did not come as far as the gate.
        """
        library = ctypes.CDLL(None, use_errno=True)
        # What the command detaches comes to us and not to init, so that it ends with the run.
        library.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        ready_read, ready_write = os.pipe()
        gate_read, self._gate = os.pipe()
        who = "-" if user is None else f"{user.pw_uid}:{user.pw_gid}:{user.pw_name}"
        try:
            # No secret passes: the interpreter at the gate starts without any environment.
            self._process = subprocess.Popen(  # noqa: S603 -- starting what it is told is the point
                [
                    *(sys.executable, "-I", "-S", str(_GATE)),
                    *(str(os.getpid()), str(ready_write), str(gate_read), who),
                    *("shut" if shut else "open", program, *command),
                ],
                env={},
                pass_fds=(ready_write, gate_read),
            )
        finally:
            os.close(ready_write)
            os.close(gate_read)
        self.pid = self._process.pid
        self._pidfd = os.pidfd_open(self.pid)
        with os.fdopen(ready_read, "rb") as ready:
            if ready.read(1) != b"1":
                self.end()
                raise Unavailable(f"{program} could not be started.", hint="See the line above.")

    def release(self, environment: Mapping[str, str]) -> None:
        """Let it become the command, with this environment."""
        with os.fdopen(self._gate, "wb") as gate:
            self._gate = -1
            gate.write(json.dumps(dict(environment)).encode())

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end at most this long; whether it has ended."""
        return bool(select.select([self._pidfd], [], [], timeout_s)[0])

    def signal(self, number: int) -> None:
        """Signal its process group."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def end(self) -> int:
        """Kill what is left of it and below it; the exit status, as Popen gives it."""
        if self._gate >= 0:
            os.close(self._gate)
            self._gate = -1
        # Before it is reaped, while its number is certainly its own.
        self.signal(signal.SIGKILL)
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        status = self._process.wait()
        os.close(self._pidfd)
        end_descendants()  # what it had detached is ours now
        return status


__all__ = ["Child", "hide"]
