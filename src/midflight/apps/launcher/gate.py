"""Run by a fresh interpreter between the fork and a launched command: waits to be let go.

It is a script, not a module: nothing imports it, and it imports nothing of Midflight. It leads a
process group of its own, becomes the user it is told, shuts itself off from the user's other
processes, ties itself to the life of the launcher, forbids core dumps, says that it is ready, and
reads the command's environment. Only then does it become the command. Without an environment (the
launcher gave up) it becomes nothing.

Arguments: the launcher's process id, the descriptors to say ready on and to read from, `-` or
`UID:GID:NAME`, `shut` or `open`, the resolved program, then the command's own argv.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import struct
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
# landlock(7): the same numbers on every architecture; signals are in reach from version 6 on.
_LANDLOCK_CREATE, _LANDLOCK_RESTRICT = 444, 446
_LANDLOCK_SIGNALS, _SCOPE_SIGNAL = 6, 2
_PR_SET_SECCOMP, _SECCOMP_FILTER = 22, 2
# linux/filter.h, linux/seccomp.h: load a word, jump if equal, return; allow, or refuse with EPERM.
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050001
# linux/audit.h: (architecture, number of ioctl) of whatever runs on a machine.
_IOCTLS = {
    "x86_64": ((0xC000003E, 16), (0xC000003E, 0x40000202), (0x40000003, 54)),
    "aarch64": ((0xC00000B7, 29), (0x40000028, 54)),
}
# ioctl_tty(2): what puts characters into the input of a terminal.
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C


def main() -> None:
    """Shut, tie, say, wait, become."""
    launcher, ready, gate, user, shut, program, *command = sys.argv[1:]
    os.setpgid(0, 0)
    library = ctypes.CDLL(None, use_errno=True)
    if user != "-":
        uid, gid, name = user.split(":", 2)
        os.initgroups(name, int(gid))
        os.setgid(int(gid))
        os.setuid(int(uid))
    # One that was made another user is not to be root: no set-user-ID program makes it one.
    if (user != "-" or shut == "shut") and library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        sys.exit("midflight: this system cannot keep a child from gaining privileges")
    if shut == "shut":
        _shut(library)
        _keep_from_typing(library)
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


def _shut(library: ctypes.CDLL) -> None:
    """Let it and all below it neither signal nor look into any process but each other.

    A program of the same user could else kill or stop the launcher that is to stop it, outlive its
    run, and read what others of that user hold in memory and environment. It cannot be undone.
    A kernel that has none of this leaves it as it was.
    """
    if library.syscall(_LANDLOCK_CREATE, None, 0, 1) < _LANDLOCK_SIGNALS:
        return
    # struct landlock_ruleset_attr: handled_access_fs, handled_access_net, scoped.
    rules = (ctypes.c_uint64 * 3)(0, 0, _SCOPE_SIGNAL)
    made = library.syscall(_LANDLOCK_CREATE, rules, ctypes.sizeof(rules), 0)
    if made < 0 or library.syscall(_LANDLOCK_RESTRICT, made, 0) != 0:
        sys.exit("midflight: this system cannot shut a child off from other processes (Landlock)")
    os.close(made)


def _keep_from_typing(library: ctypes.CDLL) -> None:
    """Let nothing below it type into the terminal, which is its launcher's as well.

    What a program pushes there (TIOCSTI) is read by the shell behind it once it has ended, as if a
    person had typed it. Other calls pass; on other machines than the named ones all do.
    """
    steps: list[tuple[int, int, int, int]] = []  # code, jump if true, if false, constant
    known = _IOCTLS.get(os.uname().machine, ())
    for block, (architecture, number) in enumerate(known):
        refuse = 7 * (len(known) - 1 - block) + 1  # from the last jump of this block over the rest
        steps += [
            (_LOAD, 0, 0, 4),  # seccomp_data.arch
            (_EQUAL, 0, 5, architecture),
            (_LOAD, 0, 0, 0),  # seccomp_data.nr
            (_EQUAL, 0, 3, number),
            (_LOAD, 0, 0, 24),  # the low word of seccomp_data.args[1]
            (_EQUAL, refuse + 1, 0, _TIOCSTI),
            (_EQUAL, refuse, 0, _TIOCLINUX),
        ]
    if not steps:
        return
    steps += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE)]
    filters = b"".join(struct.pack("HBBI", *step) for step in steps)
    held = ctypes.create_string_buffer(filters, len(filters))
    # struct sock_fprog, whose pointer is aligned.
    program = struct.pack("HP", len(steps), ctypes.addressof(held))
    if library.prctl(_PR_SET_SECCOMP, _SECCOMP_FILTER, program, 0, 0) != 0:
        sys.exit("midflight: this system cannot keep a child from typing into its terminal")


if __name__ == "__main__":
    main()
