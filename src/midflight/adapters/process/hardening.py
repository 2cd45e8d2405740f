"""A process that holds secrets leaves no image of its memory behind, and shows it to nobody.

No core dump (setrlimit(2), RLIMIT_CORE), nor one through a pipe to a collector, for which that
limit does not count (core(5)): a process that is not dumpable (prctl(2), PR_SET_DUMPABLE) is not
dumped at all, and no other process of its uid may trace it or read its memory and environment in
/proc. It does not protect from root. Children are dumpable again after exec: `launch.py` limits
theirs.
"""

from __future__ import annotations

import ctypes
import resource

from midflight.domain.errors import Misconfigured

_PR_GET_DUMPABLE = 3
_PR_SET_DUMPABLE = 4


def forbid_dumps() -> None:
    """Forbid both for this process, for good.

    Raises:
        Misconfigured: the kernel does not do it, so the process must not get secrets.
    """
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _prctl(_PR_SET_DUMPABLE)
    except (OSError, ValueError, AttributeError):
        pass
    if not dumps_forbidden():
        raise Misconfigured(
            "This process cannot forbid dumps of its memory, which holds secrets.",
            hint="Run Midflight on Linux, where prctl PR_SET_DUMPABLE is not filtered.",
        )


def dumps_forbidden() -> bool:
    """Whether this process is neither dumped nor shown to others."""
    try:
        return resource.getrlimit(resource.RLIMIT_CORE)[0] == 0 and _prctl(_PR_GET_DUMPABLE) == 0
    except (OSError, AttributeError):
        return False


def _prctl(option: int) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    result: int = library.prctl(option, 0, 0, 0, 0)
    return result


__all__ = ["dumps_forbidden", "forbid_dumps"]
