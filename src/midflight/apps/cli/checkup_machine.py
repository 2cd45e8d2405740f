"""Check-ups of the machine: interpreter, kernel, user, limits, clock. Need no settings."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import sys
from collections.abc import Iterator

from midflight.apps.cli.finding import Finding, fail, ok, warn

# SO_PEERPIDFD vouches for the process behind a socket from here on.
_VOUCHING_KERNEL = (6, 5)
_OLDEST_PYTHON = (3, 11)
# adjtimex(2): state of an unsynchronised clock, and more than the size of struct timex anywhere.
_TIME_ERROR = 5
_TIMEX_BYTES = 512
_FEW_FILES = 4_096


def machine() -> Iterator[Finding]:
    """All of them."""
    yield _python()
    yield _kernel()
    yield _user()
    yield _open_files()
    yield _clock()


def _python() -> Finding:
    text = f"Python {platform.python_version()}"
    if sys.version_info < _OLDEST_PYTHON:
        return fail("python", text, "Use Python 3.11 or later.")
    return ok("python", text)


def _kernel() -> Finding:
    if sys.platform != "linux":
        return fail(
            "system",
            f"{platform.system()} has no SO_PEERCRED and no pidfd",
            "Run Midflight on Linux.",
        )
    release = platform.release()
    numbers = [int(part) for part in release.split("-")[0].split(".")[:2] if part.isdigit()]
    if tuple(numbers) < _VOUCHING_KERNEL:
        return warn(
            "system",
            f"Linux {release} cannot vouch for the process behind a socket",
            "Linux 6.5 or later closes a race on reused process numbers (SO_PEERPIDFD).",
        )
    return ok("system", f"Linux {release}")


def _user() -> Finding:
    uid = os.geteuid()
    if uid == 0:
        return warn(
            "user",
            "you are root",
            "Run Midflight as a user of its own; it needs no privilege above port 1024.",
        )
    return ok("user", f"uid {uid}")


def _open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < _FEW_FILES:
        return warn(
            "open files",
            f"at most {soft:,} (up to {hard:,} allowed)",
            f"Raise it for many agents: ulimit -n {min(hard, 65_536)}, or LimitNOFILE=.",
        )
    return ok("open files", "no limit" if soft == resource.RLIM_INFINITY else f"{soft:,}")


def _clock() -> Finding:
    """Tokens and expiries depend on it, so a clock that nobody sets is worth knowing."""
    try:
        library = ctypes.CDLL(None, use_errno=True)
        state: int = library.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        state = -1
    if state == _TIME_ERROR:
        return warn(
            "clock",
            "the kernel says that nothing keeps it in step",
            "Run chrony or systemd-timesyncd: tokens live 5 to 15 minutes.",
        )
    if state < 0:
        return warn("clock", "cannot be asked whether it is in step", "Check it: timedatectl.")
    return ok("clock", "kept in step")


__all__ = ["machine"]
