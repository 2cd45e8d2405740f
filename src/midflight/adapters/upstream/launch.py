"""Run by a fresh interpreter, between the fork and the real command of a stdio upstream.

It is a script, not a module: nothing imports it, and it imports nothing of Midflight. It ties the
process to the life of the gateway, forbids core dumps (they would hold credentials) and becomes
the command. A `preexec_fn` would do the same and may deadlock in a process that has threads.

The tie is to the thread that spawned it (prctl(2), PR_SET_PDEATHSIG), which is the event loop's.
Arguments: the gateway's process id, the resolved program, then the command's own argv.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie, check, become."""
    gateway, program, *command = sys.argv[1:]
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit("midflight: this system cannot tie a child to its parent (prctl PDEATHSIG)")
    if os.getppid() != int(gateway):
        # The gateway died before the tie was made.
        sys.exit(1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        os.execv(program, command)  # noqa: S606 -- without a shell is the point
    except OSError as error:
        sys.exit(f"midflight: {program} cannot be run: {error.strerror}")


if __name__ == "__main__":
    main()
