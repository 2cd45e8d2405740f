"""Run by a fresh interpreter between the fork and a launched command: waits to be let go.

It is a script, not a module: nothing imports it, and it imports nothing of Midflight. It leads a
process group of its own, becomes the user it is told, ties itself to the life of the launcher,
forbids core dumps, says that it is ready, and reads the command's environment. Only then does it
become the command. Without an environment (the launcher gave up) it becomes nothing.

Arguments: the launcher's process id, the descriptors to say ready on and to read from, `-` or
`UID:GID:NAME`, the resolved program, then the command's own argv.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38


def main() -> None:
    """Tie, say, wait, become."""
    launcher, ready, gate, user, program, *command = sys.argv[1:]
    os.setpgid(0, 0)
    library = ctypes.CDLL(None, use_errno=True)
    if user != "-":
        uid, gid, name = user.split(":", 2)
        os.initgroups(name, int(gid))
        os.setgid(int(gid))
        os.setuid(int(uid))
        # It was made another user so that it is not root; no set-user-ID program makes it one.
        if library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            sys.exit("midflight: this system cannot keep a child from gaining privileges")
    # After the change of user, which clears it (prctl(2)).
    if library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit("midflight: this system cannot tie a child to its parent (prctl PDEATHSIG)")
    if os.getppid() != int(launcher):
        sys.exit(1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.write(int(ready), b"1")
    os.close(int(ready))
    with open(int(gate), "rb") as told:  # noqa: PTH123 -- a descriptor
        raw = told.read()
    if not raw:
        sys.exit(1)
    # The interpreter ignores these two for itself (signal(7)).
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    try:
        os.execve(program, command, json.loads(raw))  # noqa: S606 -- without a shell is the point
    except OSError as error:
        sys.stderr.write(f"midflight: {program} cannot be run: {error.strerror}\n")
        os._exit(126)


if __name__ == "__main__":
    main()
