"""Starts a program as a workload in a run of its own, and ends the one with the other.

The plane is asked for a run; the program is started stopped and named to the plane before it
executes; it is then given its environment and let go. While it runs, the run is followed: a
revocation, the end of the run or the loss of the plane stops it. When it ends, so does the run.
Signals are passed on. What is not reached: processes that outlive a launcher killed with SIGKILL
(which the program itself cannot do, where the kernel has Landlock) lose the run, and may go on
without it. Above: `apps/cli/exec.py`. Below: `child.py`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from typing import Any
from urllib.parse import quote

from midflight.apps.control.client import ControlClient
from midflight.apps.launcher.child import Child, hide
from midflight.apps.launcher.environment import Given, environment
from midflight.apps.launcher.token_file import TokenFile
from midflight.domain.errors import Forbidden, MidflightError, Misconfigured, NotFound
from midflight.domain.value import Value

POLL_S = 0.2
STOP_GRACE_S = 5.0
"""Seconds between SIGTERM and SIGKILL."""
PLANE_GRACE_S = 10.0
"""Seconds without an answer of the plane after which the program is stopped."""
TOKEN_TTL_S = 600

_FORWARDED = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
)
_STOPPED = 1
"""Exit code of a program that Midflight stopped and that ended as if nothing were wrong."""


class Order(Value):
    """What to launch.

    `workload` is a SPIFFE ID; `user` a name, or None for who launches; with `privileges` it may
    gain some (sudo), and reaches the other processes of its user.
    """

    workload: str
    command: tuple[str, ...]
    intent: str | None = None
    ttl_s: int | None = None
    allowed: tuple[str, ...] = ()
    user: str | None = None
    privileges: bool = False
    stop_grace_s: float = STOP_GRACE_S
    plane_grace_s: float = PLANE_GRACE_S


class Launcher:
    """One launch; `launch` returns when the program has ended."""

    def __init__(
        self, client: ControlClient, *, parent: Mapping[str, str], say: Callable[[str], None]
    ) -> None:
        """`client` gives up soon; `parent` is the own environment; `say` tells the person."""
        self._client = client
        self._parent = parent
        self._say = say
        self._answered = 0.0

    def launch(self, order: Order) -> int:
        """Launch, follow, end; the exit code of the program (128 + N for signal N).

        Raises:
            MidflightError: it was not started, and why. The run, if any, is closed.
        """
        hide()
        user = _user(order.user)
        program = _program(order.command[0], self._parent.get("PATH"))
        run = self._client.post(
            "/v1/runs", workload=order.workload, intent=order.intent, ttl_s=order.ttl_s
        )["id"]
        how = "it was not started"
        try:
            code, how = self._launch(order, run, program=program, user=user)
        finally:
            with suppress(MidflightError):  # it has ended already, or the plane sees to it
                self._client.post(f"{_path(run)}/close", reason=how)
        return code

    def _launch(
        self, order: Order, run: str, *, program: str, user: pwd.struct_passwd | None
    ) -> tuple[int, str]:
        owner = None if user is None else (user.pw_uid, user.pw_gid)
        with ExitStack() as undo:
            file = undo.enter_context(TokenFile(owner))
            child = Child(program, order.command, user=user, shut=not order.privileges)
            ended = False
            try:
                told = self._client.post(f"{_path(run)}/launch", pid=child.pid)
                renew_at = self._write_token(file, order.workload, run)
                given = Given(
                    run=run,
                    mcp_url=told["mcp_url"],
                    endpoint=told["spiffe_endpoint"],
                    token_file=str(file.path),
                )
                variables = environment(
                    self._parent,
                    given,
                    allowed=order.allowed,
                    home=None if user is None else user.pw_dir,
                )
                for number in _FORWARDED:
                    before = signal.signal(number, lambda got, _: child.signal(got))
                    undo.callback(signal.signal, number, before)
                undo.callback(_foreground(child.pid))
                self._say(f"Run {run} is open; `midflight revoke run {run}` stops it.")
                child.release(variables)
                stopped = self._follow(order, run, child, file=file, renew_at=renew_at)
                if stopped is not None:
                    self._say(f"Stopping the program: {stopped}")
                    child.signal(signal.SIGTERM)
                    child.signal(signal.SIGCONT)
                    child.wait(order.stop_grace_s)
                ended = True
                status = child.end()
            finally:
                if not ended:
                    child.end()
        code = 128 - status if status < 0 else status
        if stopped is not None:
            return code or _STOPPED, f"stopped: {stopped}"
        return code, f"its command ended with exit code {code}"

    def _follow(
        self, order: Order, run: str, child: Child, *, file: TokenFile, renew_at: float
    ) -> str | None:
        """Wait for the end of the program; why it must be stopped, or None if it ended."""
        self._answered = time.monotonic()
        while not child.wait(POLL_S):
            try:
                why = _over(self._client.get(f"{_path(run)}/launch"))
                if why is not None:
                    return why
                self._answered = time.monotonic()
                if self._answered >= renew_at:
                    renew_at = self._write_token(file, order.workload, run)
            except MidflightError as error:
                silent = time.monotonic() - self._answered
                if silent >= order.plane_grace_s:
                    return f"the plane has not answered for {silent:.0f} s ({error.message})"
        return None

    def _write_token(self, file: TokenFile, workload: str, run: str) -> float:
        minted = self._client.post("/v1/tokens", workload=workload, run=run, ttl_s=TOKEN_TTL_S)
        file.write(minted["token"])
        return time.monotonic() + TOKEN_TTL_S * 2 / 3


def _over(status: dict[str, Any]) -> str | None:
    """Why a program may not go on, or None."""
    revocation = status["revocation"]
    if revocation is not None:
        reason = f": {revocation['reason']}" if revocation["reason"] else ""
        return f"{revocation['author']} revoked it ({revocation['id']}){reason}."
    if status["state"] != "open":
        return f"its run has ended ({status['state']})."
    return None


def _program(name: str, path: str | None) -> str:
    found = shutil.which(name, path=path)
    if found is None:
        raise NotFound(
            f"There is no program {name} to run.",
            hint="Write the command behind `--`, as you would without midflight.",
        )
    return os.path.abspath(found)  # noqa: PTH100 -- a link stays the name that was meant


def _user(name: str | None) -> pwd.struct_passwd | None:
    if name is None:
        return None
    if os.geteuid() != 0:
        raise Forbidden(
            "Only root starts programs as another user.", hint="Leave --user out, or use sudo."
        )
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        raise Misconfigured(f"There is no user {name}.", hint="Name one of this machine.") from None
    return found


def _foreground(group: int) -> Callable[[], None]:
    """Give the terminal to a process group; what is returned takes it back."""
    if not (sys.stdin is not None and sys.stdin.isatty()):
        return lambda: None
    terminal = sys.stdin.fileno()
    try:
        before = os.tcgetpgrp(terminal)
        if before != os.getpgrp():
            return lambda: None
        # tcsetpgrp(3): a background group that does it is stopped, unless it ignores this.
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        os.tcsetpgrp(terminal, group)
    except OSError:
        return lambda: None

    def back() -> None:
        with suppress(OSError):
            os.tcsetpgrp(terminal, before)
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)

    return back


def _path(run: str) -> str:
    return f"/v1/runs/{quote(run, safe='')}"


__all__ = ["PLANE_GRACE_S", "STOP_GRACE_S", "Launcher", "Order"]
