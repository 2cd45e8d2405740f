"""A launched program that looks for secrets where they were not given to it: in its launcher.

The launcher is the product's own, before a stand-in of the plane; the program is a real one of the
same user, and neither has any capability (as root both would: several let one look anywhere).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

MARKER = "planted-marker-51c9"

# prctl(2): PR_CAPBSET_DROP of each capability, which counts from the next exec on.
WITHOUT_CAPABILITIES = """
import ctypes, os, sys
for capability in range(64):
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""

LAUNCHER = """
import os, sys
from midflight.apps.launcher.launching import Launcher, Order

class Plane:
    answers = {"launch": {"mcp_url": "", "spiffe_endpoint": ""}, "tokens": {"token": "t"}}
    def post(self, path, **given):
        return self.answers.get(path.rpartition("/")[2], {"id": "run_x"})
    def get(self, path):
        return {"revocation": None, "state": "open"}

order = Order(workload="spiffe://a.test/x", command=tuple(sys.argv[1:]))
sys.exit(Launcher(Plane(), parent=os.environ, say=lambda text: None).launch(order))
"""

PROGRAM = """
import ctypes, os
launcher = os.getppid()
for name in ("environ", "mem", "maps", "cwd"):
    place = f"/proc/{launcher}/{name}"
    try:
        found = os.readlink(place) if name == "cwd" else (
            open(place, "rb").read(4096) if name != "mem" else open(place, "rb"))
        print("read", name, found)
    except OSError as error:
        print("refused", name, type(error).__name__)
library = ctypes.CDLL(None, use_errno=True)
library.ptrace.restype = ctypes.c_long
attached = library.ptrace(0x4206, launcher, None, None)  # PTRACE_SEIZE
print("traced" if attached == 0 else "refused ptrace")
# And it is an ordinary process itself: what it needs of its own it can read.
print("own", "PATH=" in open("/proc/self/environ").read())
"""


def test_a_program_reads_nothing_out_of_its_launcher(tmp_path: Path) -> None:
    launcher, program = tmp_path / "launcher.py", tmp_path / "program.py"
    launcher.write_text(LAUNCHER, encoding="utf-8")
    program.write_text(PROGRAM, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_CAPABILITIES, launcher, sys.executable, program],
        env={**os.environ, "PARENT_SECRET": MARKER},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert MARKER not in done.stdout
    said = done.stdout.splitlines()
    assert said == [
        *(f"refused {name} PermissionError" for name in ("environ", "mem", "maps", "cwd")),
        "refused ptrace",
        "own True",
    ]
