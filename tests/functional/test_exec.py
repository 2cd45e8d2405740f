"""`midflight exec` against `midflight up`, both in processes of their own, as people run them."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from process_kit import DOMAIN, ProcessPlane, process_plane

from midflight.domain.errors import Forbidden, NotFound

MARKER = "planted-marker-7f3a"
WORKLOAD = f"spiffe://{DOMAIN}/agents/triage"
WAIT_S = 40.0

# Says how it was started, then waits for its input to end.
AGENT = """
import os, sys
pid = os.getpid()
print(pid, flush=True)
sys.stdin.read()
"""


class Launched:
    """A running `midflight exec`."""

    def __init__(self, plane: ProcessPlane, *command: str, options: tuple[str, ...] = ()) -> None:
        self.plane = plane
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "midflight.apps.cli.main", "--config", str(plane.config)),
                *("exec", "--workload", "agents/triage", "--intent", "a test", *options, "--"),
                *command,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PARENT_SECRET": MARKER, "NO_COLOR": "1"},
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def done(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=WAIT_S)
        return self.process.returncode, out, err

    def run(self) -> dict[str, Any]:
        (found,) = self.plane.control.get("/v1/runs", workload=WORKLOAD)
        return found


def run_of(plane: ProcessPlane) -> dict[str, Any]:
    (found,) = plane.control.get("/v1/runs", workload=WORKLOAD)
    return dict(found)


def ended(pidfd: int) -> bool:
    """Wait for the end of a process that is held."""
    return bool(select.select([pidfd], [], [], WAIT_S)[0])


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[ProcessPlane]:
    with process_plane(tmp_path, "") as made:
        made.start()
        made.register("triage")
        yield made


@contextlib.contextmanager
def launched(plane: ProcessPlane, *command: str, **more: Any) -> Iterator[Launched]:
    made = Launched(plane, *command, **more)
    try:
        yield made
    finally:
        if made.process.poll() is None:
            made.process.kill()
            made.process.communicate()
        for pipe in (made.process.stdin, made.process.stdout, made.process.stderr):
            if pipe is not None:
                pipe.close()


def test_a_program_has_a_run_of_its_own_and_nothing_of_its_parents_secrets(
    plane: ProcessPlane,
) -> None:
    with launched(plane, sys.executable, "-c", AGENT) as made:
        pid = int(made.line())
        variables = dict(
            pair.split("=", 1)
            for pair in Path(f"/proc/{pid}/environ").read_text().rstrip("\0").split("\0")
        )
        shown = (
            Path(f"/proc/{pid}/cmdline").read_bytes()
            + Path(f"/proc/{made.process.pid}/cmdline").read_bytes()
        )
        run = run_of(plane)
        token_file = Path(variables["MIDFLIGHT_TOKEN_FILE"])
        token = token_file.read_text().strip()
        assert MARKER not in str(variables)
        assert set(variables) <= {
            *("PATH", "HOME", "LANG", "TMPDIR", "TERM", "LC_CTYPE"),
            *("MIDFLIGHT_RUN", "MIDFLIGHT_MCP_URL", "MIDFLIGHT_TOKEN_FILE"),
        }
        assert variables["MIDFLIGHT_RUN"] == run["id"]
        assert run["state"] == "open"
        assert token not in str(variables)
        assert token.encode() not in shown
        assert token_file.stat().st_mode & 0o777 == 0o600
        assert token_file.parent.stat().st_mode & 0o777 == 0o700
        (entry,) = plane.control.get("/v1/entries")
        assert entry["selectors"] == [f"launcher:run:{run['id']}"]
        assert entry["run"] == run["id"]
        code, _, err = made.done()
        assert code == 0, err
    assert run_of(plane)["state"] == "closed"
    assert plane.control.get("/v1/entries") == []
    assert not token_file.exists()
    assert MARKER.encode() not in plane.output
    assert token.encode() not in plane.output


@pytest.mark.parametrize(
    ("program", "code"),
    [("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 128 + 9)],
)
def test_an_exit_code_is_passed_on_and_the_run_ends(
    plane: ProcessPlane, program: str, code: int
) -> None:
    with launched(plane, sys.executable, "-c", program) as made:
        assert made.done()[0] == code
    assert run_of(plane)["state"] == "closed"


def test_a_signal_reaches_the_program(plane: ProcessPlane) -> None:
    program = "import signal,sys; signal.signal(15, lambda *_: sys.exit(3)); print(1, flush=True)\n"
    with launched(plane, sys.executable, "-c", program + "signal.pause()") as made:
        made.line()
        made.process.send_signal(signal.SIGTERM)
        assert made.done()[0] == 3
    assert run_of(plane)["state"] == "closed"


def test_a_variable_passes_only_by_name(plane: ProcessPlane) -> None:
    program = "import os; print(os.environ['PARENT_SECRET'])"
    with launched(
        plane, sys.executable, "-c", program, options=("--allow-env", "PARENT_SECRET")
    ) as made:
        assert made.line() == MARKER
        assert made.done()[0] == 0


@pytest.mark.parametrize("what", ["run", "workload", "everything"])
def test_a_revocation_stops_the_program_and_says_who_did_it(plane: ProcessPlane, what: str) -> None:
    with launched(plane, sys.executable, "-c", AGENT) as made:
        pidfd = os.pidfd_open(int(made.line()))
        scope = {"run": run_of(plane)["id"], "workload": WORKLOAD, "everything": ""}[what]
        revoked = plane.control.post(
            "/v1/revocations", scope={"kind": what, "id": scope}, reason="it reads mail"
        )
        assert ended(pidfd)
        os.close(pidfd)
        code, _, err = made.done()
        assert code == 128 + signal.SIGTERM
        assert "it reads mail" in err
        assert "revoked it" in err
        assert revoked


def test_a_program_that_ignores_the_end_is_killed(plane: ProcessPlane) -> None:
    program = "import signal; signal.signal(15, signal.SIG_IGN); print(1, flush=True)\n"
    with launched(plane, sys.executable, "-c", program + "signal.pause()") as made:
        made.line()
        plane.control.post(f"/v1/runs/{run_of(plane)['id']}/close", reason="enough")
        code, _, err = made.done()
        assert code == 128 + signal.SIGKILL
        assert "its run has ended (closed)" in err


def test_a_program_does_not_outlive_the_plane_for_long(plane: ProcessPlane) -> None:
    with launched(plane, sys.executable, "-c", AGENT) as made:
        made.line()
        plane.kill()
        plane.reaped()
        code, _, err = made.done()
        assert code == 128 + signal.SIGTERM
        assert "the plane has not answered" in err


def test_a_program_survives_a_restart_of_the_plane_and_keeps_its_run(plane: ProcessPlane) -> None:
    with launched(plane, sys.executable, "-c", AGENT) as made:
        made.line()
        plane.kill()
        plane.reaped()
        plane.start()
        run = run_of(plane)
        assert run["state"] == "open"
        (entry,) = plane.control.get("/v1/entries")
        assert entry["run"] == run["id"]
        assert made.done()[0] == 0
    assert run_of(plane)["state"] == "closed"


def test_what_ended_while_the_plane_was_down_is_closed_at_its_start(plane: ProcessPlane) -> None:
    with launched(plane, sys.executable, "-c", AGENT) as made:
        pidfd = os.pidfd_open(int(made.line()))
        plane.kill()
        plane.reaped()
        made.process.kill()
        assert ended(pidfd)
        os.close(pidfd)
    plane.start()
    assert run_of(plane)["state"] == "closed"
    assert plane.control.get("/v1/entries") == []


def test_a_killed_launcher_takes_the_program_and_the_run_with_it(plane: ProcessPlane) -> None:
    with launched(plane, sys.executable, "-c", AGENT) as made:
        pidfd = os.pidfd_open(int(made.line()))
        made.process.kill()
        assert ended(pidfd)
        os.close(pidfd)
    while run_of(plane)["state"] == "open":  # the plane sees the end by itself; bounded by the test
        pass
    assert run_of(plane)["state"] == "closed"
    assert plane.control.get("/v1/entries") == []


def test_what_a_program_detaches_ends_with_it(plane: ProcessPlane) -> None:
    program = (
        "import subprocess, sys\n"
        "child = subprocess.Popen(['sleep', '1000'], start_new_session=True)\n"
        "print(child.pid, flush=True); sys.stdin.read()"
    )
    with launched(plane, sys.executable, "-c", program) as made:
        pidfd = os.pidfd_open(int(made.line()))
        assert made.done()[0] == 0
        assert ended(pidfd)
        os.close(pidfd)


def test_a_program_that_is_not_there_opens_no_run(plane: ProcessPlane) -> None:
    with launched(plane, "no-such-program") as made:
        code, _, err = made.done()
        assert code == 1
        assert "There is no program no-such-program" in err
    assert plane.control.get("/v1/runs", workload=WORKLOAD) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts programs as another user")
def test_a_program_may_run_as_another_user(plane: ProcessPlane) -> None:
    program = (
        "printf '%s ' $(id -u) $(cat $MIDFLIGHT_TOKEN_FILE | wc -l)"
        " $(grep NoNewPrivs /proc/self/status); exit 0"
    )
    with launched(plane, "/bin/sh", "-c", program, options=("--user", "nobody")) as made:
        code, out, err = made.done()
        assert code == 0, err
        assert out.split() == ["65534", "1", "NoNewPrivs:", "1"]


# Attacks


def from_inside(plane: ProcessPlane, program: str) -> tuple[int, str, str]:
    """What a launched program gets that runs this with a control client `c` and its own run."""
    head = (
        "import os, sys; sys.path[:] = os.environ['LIB'].split(os.pathsep)\n"
        "from pathlib import Path\n"
        "from midflight.apps.control.client import ControlClient\n"
        f"c = ControlClient(Path({str(plane.control.path)!r}))\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIB", os.pathsep.join(sys.path))
        with launched(
            plane, sys.executable, "-c", head + program, options=("--allow-env", "LIB")
        ) as made:
            return made.done()


def test_a_launched_program_operates_nothing(plane: ProcessPlane) -> None:
    code, _, err = from_inside(plane, "c.get('/v1/runs')")
    assert code == 1
    assert Forbidden.__name__ in err
    assert "descends from a process that Midflight runs" in err


def test_what_a_launched_program_detaches_operates_nothing_either(plane: ProcessPlane) -> None:
    program = (
        "r, w = os.pipe()\n"
        "if os.fork():\n    os.close(w); print(os.read(r, 999).decode()); sys.exit()\n"
        "os.setsid()\n"
        "if os.fork(): os._exit(0)\n"
        "while os.getppid() not in (int(os.environ.get('L', 0)), ): \n"
        "    if open(f'/proc/{os.getppid()}/cmdline').read().count('exec'): break\n"
        "try:\n    c.get('/v1/runs'); said = 'LET IN'\n"
        "except Exception as error:\n    said = type(error).__name__\n"
        "os.write(w, said.encode()); os._exit(0)"
    )
    code, out, err = from_inside(plane, program)
    assert code == 0, err
    assert out.strip() == "Forbidden"


def test_a_process_that_somebody_else_started_is_nobodys_launch(plane: ProcessPlane) -> None:
    run, _ = plane.open_run(WORKLOAD)
    with pytest.raises(Forbidden, match="not started by whoever names it"):
        plane.control.post(f"/v1/runs/{run}/launch", pid=os.getppid())
    with pytest.raises(NotFound):
        plane.control.post(f"/v1/runs/{run}/launch", pid=2**22 + 1)
