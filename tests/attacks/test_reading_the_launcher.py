"""A launched program that looks for secrets where they were not given to it, or wants to be alone.

The launcher is the product's own, before a stand-in of the plane; the program is a real one of the
same user. None has any capability (as root each would: several let one look anywhere).
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

MARKER = "planted-marker-51c9"
# landlock_create_ruleset(2) with LANDLOCK_CREATE_RULESET_VERSION; signals from 6 on.
LANDLOCK = ctypes.CDLL(None).syscall(444, None, 0, 1)

# prctl(2): PR_CAPBSET_DROP of each capability, which counts from the next exec on.
WITHOUT_CAPABILITIES = """
import ctypes, os, sys
for capability in range(64):
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""

LAUNCHER = """
import os, subprocess, sys
from midflight.apps.launcher.launching import Launcher, Order

class Plane:
    answers = {"launch": {"mcp_url": "", "spiffe_endpoint": ""}, "tokens": {"token": "t"}}
    def post(self, path, **given):
        return self.answers.get(path.rpartition("/")[2], {"id": "run_x"})
    def get(self, path):
        return {"revocation": None, "state": "open"}

privileges, *command = sys.argv[1:]
order = Order(
    workload="spiffe://a.test/x", command=tuple(command), privileges=privileges == "open")
sys.exit(Launcher(Plane(), parent=os.environ, say=lambda text: None).launch(order))
"""

PROGRAM = """
import ctypes, os, signal, sys
launcher, other = os.getppid(), int(sys.argv[1])
library = ctypes.CDLL(None, use_errno=True)
library.ptrace.restype = ctypes.c_long
for who, pid in (("launcher", launcher), ("other", other)):
    for name in ("environ", "mem", "maps", "cwd"):
        place = f"/proc/{pid}/{name}"
        try:
            found = os.readlink(place) if name == "cwd" else (
                open(place, "rb").read(4096) if name != "mem" else open(place, "rb"))
            print("read", who, name, found)
        except OSError as error:
            print("refused", who, name)
    # PTRACE_SEIZE
    print("refused" if library.ptrace(0x4206, pid, None, None) else "traced", who, "ptrace")
    try:
        os.kill(pid, signal.SIGCONT)  # as good as STOP and KILL for the kernel, and harmless
        print("signalled", who)
    except PermissionError:
        print("refused", who, "signal")
# And it is an ordinary process itself: it reads its own, and ends its own children.
print("own", "PATH=" in open("/proc/self/environ").read())
child = os.fork()
if not child:
    signal.pause()
os.kill(child, signal.SIGKILL)
print("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(next(line for line in open("/proc/self/status") if line.startswith("NoNewPrivs")).split()[1])
"""


def said(tmp_path: Path, privileges: str) -> list[str]:
    launcher, program = tmp_path / "launcher.py", tmp_path / "program.py"
    launcher.write_text(LAUNCHER, encoding="utf-8")
    program.write_text(PROGRAM, encoding="utf-8")
    environment = {**os.environ, "PARENT_SECRET": MARKER}
    alone = [sys.executable, "-c", WITHOUT_CAPABILITIES]
    waits = ["-c", "import sys; print(1, flush=True); sys.stdin.read()"]
    with subprocess.Popen(
        [*alone, *waits], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline()  # it has become what cannot look anywhere, either
        done = subprocess.run(
            [*alone, launcher, privileges, sys.executable, program, str(other.pid)],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        other.communicate()
    return done.stdout.splitlines()


FILES = ("environ", "mem", "maps", "cwd")


@pytest.mark.parametrize("privileges", ["shut", "open"])
def test_a_program_reads_nothing_out_of_its_launcher(tmp_path: Path, privileges: str) -> None:
    found = said(tmp_path, privileges)
    for name in (*FILES, "ptrace"):
        assert f"refused launcher {name}" in found
    assert MARKER not in str([line for line in found if " launcher " in line])
    assert found[-3:-1] == ["own True", "child -9"]


@pytest.mark.skipif(LANDLOCK < 6, reason="the kernel cannot shut off signals (Linux 6.12)")
def test_a_program_neither_looks_into_others_nor_stops_who_would_stop_it(tmp_path: Path) -> None:
    refused = [
        f"refused {who} {name}"
        for who in ("launcher", "other")
        for name in (*FILES, "ptrace", "signal")
    ]
    assert said(tmp_path, "shut") == [*refused, "own True", "child -9", "1"]


# Takes the terminal as its own, as a shell has it, and becomes the launcher there.
ON_A_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""

TYPING = """
import fcntl, struct, termios
for what in (termios.TIOCSTI, 0x541C):
    try:
        fcntl.ioctl(0, what, b"x")
        print("typed")
    except OSError as error:
        print("refused", error.errno)  # EPERM by us; a kernel without it says EIO or ENOTTY
print("size", len(fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8))))
"""


def test_a_program_types_nothing_into_its_launchers_terminal(tmp_path: Path) -> None:
    launcher = tmp_path / "launcher.py"
    launcher.write_text(LAUNCHER, encoding="utf-8")
    master, slave = os.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-c", ON_A_TERMINAL, launcher, "shut", sys.executable, "-c", TYPING],
            stdin=slave,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            start_new_session=True,
            timeout=60,
        )
        assert done.stdout.splitlines() == ["refused 1", "refused 1", "size 8"]
    finally:
        os.close(slave)
        os.close(master)
