"""`midflight exec` against `midflight up`, both in processes of their own, as people run them."""

from __future__ import annotations

import contextlib
import itertools
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

from midflight.apps.launcher.launching import PLANE_GRACE_S, STOP_GRACE_S, Order
from midflight.domain.errors import Forbidden, NotFound

MARKER = "planted-marker-7f3a"
NAMES = (f"agent-{number}" for number in itertools.count())
WAIT_S = 40.0

# Says how it was started, then waits for its input to end.
AGENT = """
import os, sys
pid = os.getpid()
print(pid, flush=True)
sys.stdin.read()
"""

# `midflight exec`, but for how long it lets the plane be silent and a program ignore its end.
OTHER_GRACES = """
import functools, sys
from midflight.apps.cli import exec as verb, main
from midflight.apps.launcher import launching
verb.TIMEOUT_S = 30.0
plane_s, stop_s = float(sys.argv.pop(1)), float(sys.argv.pop(1))
launching.Order = functools.partial(launching.Order, plane_grace_s=plane_s, stop_grace_s=stop_s)
main.main()
"""


class Agent:
    """A registered workload of a plane, for one test."""

    def __init__(self, plane: ProcessPlane) -> None:
        self.plane = plane
        self.name = f"agents/{plane.register(next(NAMES)).rpartition('/')[2]}"
        self.id = f"spiffe://{DOMAIN}/{self.name}"

    def runs(self) -> Any:
        return self.plane.control.get("/v1/runs", workload=self.id)

    def run(self) -> dict[str, Any]:
        (found,) = self.runs()
        return dict(found)

    def entries(self) -> list[dict[str, Any]]:
        found = self.plane.control.get("/v1/entries")
        return [entry for entry in found if entry["spiffe_id"] == self.id]


class Launched:
    """A running `midflight exec`; `graces` are its seconds for the plane and for the program."""

    def __init__(
        self,
        agent: Agent,
        *command: str,
        options: tuple[str, ...] = (),
        graces: tuple[float, float] | None = None,
    ) -> None:
        config = str(agent.plane.config)
        program = ("-m", "midflight.apps.cli.main")
        if graces is not None:
            program = ("-c", OTHER_GRACES, *map(str, graces))
        self.process = subprocess.Popen(
            [
                *(sys.executable, *program, "--config", config),
                *("exec", "--workload", agent.name, "--intent", "a test", *options, "--"),
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
        """End its input and wait for its end."""
        out, err = self.process.communicate(timeout=WAIT_S)
        return self.process.returncode, out, err


def ended(pidfd: int) -> bool:
    """Wait for the end of a process that is held."""
    return bool(select.select([pidfd], [], [], WAIT_S)[0])


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessPlane]:
    with process_plane(tmp_path_factory.mktemp("plane"), "") as made:
        made.start()
        yield made


@pytest.fixture
def agent(shared: ProcessPlane) -> Agent:
    return Agent(shared)


@pytest.fixture
def lone(tmp_path: Path) -> Iterator[Agent]:
    """An agent of a plane that the test may kill."""
    with process_plane(tmp_path, "") as made:
        made.start()
        yield Agent(made)


@contextlib.contextmanager
def launched(agent: Agent, *command: str, **more: Any) -> Iterator[Launched]:
    made = Launched(agent, *command, **more)
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
    agent: Agent,
) -> None:
    with launched(agent, sys.executable, "-c", AGENT) as made:
        pid = int(made.line())
        variables = dict(
            pair.split("=", 1)
            for pair in Path(f"/proc/{pid}/environ").read_text().rstrip("\0").split("\0")
        )
        shown = (
            Path(f"/proc/{pid}/cmdline").read_bytes()
            + Path(f"/proc/{made.process.pid}/cmdline").read_bytes()
        )
        run = agent.run()
        token_file = Path(variables["MIDFLIGHT_TOKEN_FILE"])
        token = token_file.read_text().strip()
        assert MARKER not in str(variables)
        assert set(variables) <= {
            *("PATH", "HOME", "LANG", "TMPDIR", "TERM", "LC_CTYPE"),
            *("MIDFLIGHT_RUN", "MIDFLIGHT_MCP_URL", "MIDFLIGHT_TOKEN_FILE"),
            "SPIFFE_ENDPOINT_SOCKET",
        }
        assert variables["MIDFLIGHT_RUN"] == run["id"]
        assert run["state"] == "open"
        assert token not in str(variables)
        assert token.encode() not in shown
        assert token_file.stat().st_mode & 0o777 == 0o600
        assert token_file.parent.stat().st_mode & 0o777 == 0o700
        (entry,) = agent.entries()
        assert entry["selectors"] == [f"launcher:run:{run['id']}"]
        assert entry["run"] == run["id"]
        code, _, err = made.done()
        assert code == 0, err
    assert agent.run()["state"] == "closed"
    assert agent.entries() == []
    assert not token_file.exists()
    assert MARKER.encode() not in agent.plane.output
    assert token.encode() not in agent.plane.output


@pytest.mark.parametrize(
    ("program", "code"),
    [("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 128 + 9)],
)
def test_an_exit_code_is_passed_on_and_the_run_ends(agent: Agent, program: str, code: int) -> None:
    with launched(agent, sys.executable, "-c", program) as made:
        assert made.done()[0] == code
    assert agent.run()["state"] == "closed"


def test_a_signal_reaches_the_program(agent: Agent) -> None:
    program = "import signal,sys; signal.signal(15, lambda *_: sys.exit(3)); print(1, flush=True)\n"
    with launched(agent, sys.executable, "-c", program + "signal.pause()") as made:
        made.line()
        made.process.send_signal(signal.SIGTERM)
        assert made.done()[0] == 3
    assert agent.run()["state"] == "closed"


def test_a_variable_passes_only_by_name(agent: Agent) -> None:
    program = "import os; print(os.environ['PARENT_SECRET'])"
    with launched(
        agent, sys.executable, "-c", program, options=("--allow-env", "PARENT_SECRET")
    ) as made:
        assert made.line() == MARKER
        assert made.done()[0] == 0


@pytest.mark.parametrize("what", ["run", "workload"])
def test_a_revocation_stops_the_program_and_says_who_did_it(agent: Agent, what: str) -> None:
    with launched(agent, sys.executable, "-c", AGENT) as made:
        pidfd = os.pidfd_open(int(made.line()))
        scope = {"run": agent.run()["id"], "workload": agent.id}[what]
        revoked = agent.plane.control.post(
            "/v1/revocations", scope={"kind": what, "id": scope}, reason="it reads mail"
        )
        assert ended(pidfd)
        os.close(pidfd)
        code, _, err = made.done()
        assert code == 128 + signal.SIGTERM
        assert "it reads mail" in err
        assert "revoked it" in err
        assert revoked


def test_a_program_that_ignores_the_end_is_killed(agent: Agent) -> None:
    program = "import signal; signal.signal(15, signal.SIG_IGN); print(1, flush=True)\n"
    command = (sys.executable, "-c", program + "signal.pause()")
    with launched(agent, *command, graces=(PLANE_GRACE_S, 0.1)) as made:
        made.line()
        agent.plane.control.post(f"/v1/runs/{agent.run()['id']}/close", reason="enough")
        code, _, err = made.done()
        assert code == 128 + signal.SIGKILL
        assert "its run has ended (closed)" in err


def test_a_program_does_not_outlive_the_plane_for_long(lone: Agent) -> None:
    with launched(lone, sys.executable, "-c", AGENT, graces=(0.5, STOP_GRACE_S)) as made:
        pidfd = os.pidfd_open(int(made.line()))
        lone.plane.kill()
        lone.plane.reaped()
        assert ended(pidfd)
        os.close(pidfd)
        code, _, err = made.done()
        assert code == 128 + signal.SIGTERM
        assert "the plane has not answered" in err


def test_the_graces_of_everybody_else() -> None:
    order = Order(workload="agents/one", command=("true",))
    assert (order.plane_grace_s, order.stop_grace_s) == (10, 5)


def test_a_program_survives_a_restart_of_the_plane_and_keeps_its_run(lone: Agent) -> None:
    # However long the restart takes.
    with launched(lone, sys.executable, "-c", AGENT, graces=(3_600, STOP_GRACE_S)) as made:
        made.line()
        lone.plane.kill()
        lone.plane.reaped()
        lone.plane.start()
        run = lone.run()
        assert run["state"] == "open"
        (entry,) = lone.entries()
        assert entry["run"] == run["id"]
        assert made.done()[0] == 0
    assert lone.run()["state"] == "closed"


def test_what_ended_while_the_plane_was_down_is_closed_at_its_start(lone: Agent) -> None:
    with launched(lone, sys.executable, "-c", AGENT) as made:
        pidfd = os.pidfd_open(int(made.line()))
        lone.plane.kill()
        lone.plane.reaped()
        made.process.kill()
        assert ended(pidfd)
        os.close(pidfd)
    lone.plane.start()
    assert lone.run()["state"] == "closed"
    assert lone.entries() == []


def test_a_killed_launcher_takes_the_program_and_the_run_with_it(agent: Agent) -> None:
    with launched(agent, sys.executable, "-c", AGENT) as made:
        pidfd = os.pidfd_open(int(made.line()))
        made.process.kill()
        assert ended(pidfd)
        os.close(pidfd)
    while agent.run()["state"] == "open":  # the plane sees the end by itself; bounded by the test
        pass
    assert agent.run()["state"] == "closed"
    assert agent.entries() == []


def test_what_a_program_detaches_ends_with_it(agent: Agent) -> None:
    program = (
        "import subprocess, sys\n"
        "child = subprocess.Popen(['sleep', '1000'], start_new_session=True)\n"
        "print(child.pid, flush=True); sys.stdin.read()"
    )
    with launched(agent, sys.executable, "-c", program) as made:
        pidfd = os.pidfd_open(int(made.line()))
        assert made.done()[0] == 0
        assert ended(pidfd)
        os.close(pidfd)


def test_a_program_that_is_not_there_opens_no_run(agent: Agent) -> None:
    with launched(agent, "no-such-program") as made:
        code, _, err = made.done()
        assert code == 1
        assert "There is no program no-such-program" in err
    assert agent.runs() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts programs as another user")
def test_a_program_may_run_as_another_user(agent: Agent) -> None:
    program = (
        "printf '%s ' $(id -u) $(cat $MIDFLIGHT_TOKEN_FILE | wc -l)"
        " $(grep NoNewPrivs /proc/self/status); exit 0"
    )
    with launched(agent, "/bin/sh", "-c", program, options=("--user", "nobody")) as made:
        code, out, err = made.done()
        assert code == 0, err
        assert out.split() == ["65534", "1", "NoNewPrivs:", "1"]


# Attacks


def from_inside(agent: Agent, program: str) -> tuple[int, str, str]:
    """What a launched program gets that runs this with a control client `c` and its own run."""
    head = (
        "import os, sys; sys.path[:] = os.environ['LIB'].split(os.pathsep)\n"
        "from pathlib import Path\n"
        "from midflight.apps.control.client import ControlClient\n"
        f"c = ControlClient(Path({str(agent.plane.control.path)!r}))\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIB", os.pathsep.join(sys.path))
        with launched(
            agent, sys.executable, "-c", head + program, options=("--allow-env", "LIB")
        ) as made:
            return made.done()


def test_a_launched_program_operates_nothing(agent: Agent) -> None:
    code, _, err = from_inside(agent, "c.get('/v1/runs')")
    assert code == 1
    assert Forbidden.__name__ in err
    assert "descends from a process that Midflight runs" in err


def test_what_a_launched_program_detaches_operates_nothing_either(agent: Agent) -> None:
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
    code, out, err = from_inside(agent, program)
    assert code == 0, err
    assert out.strip() == "Forbidden"


# Asks once for each line that it reads, and says what it got; no signal but KILL ends it.
ASKING = """
import os, signal, sys; sys.path[:] = os.environ['LIB'].split(os.pathsep)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
from pathlib import Path
from midflight.apps.control.client import ControlClient
for line in sys.stdin:
    try: ControlClient(Path(sys.argv[1])).get('/v1/operator'); said = 'LET IN'
    except Exception as error: said = type(error).__name__
    print(said, flush=True)
"""


def test_a_program_that_outlives_its_run_does_not_come_to_operate(lone: Agent) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIB", os.pathsep.join(sys.path))
        command = (sys.executable, "-c", ASKING, str(lone.plane.control.path))
        with launched(lone, *command, options=("--allow-env", "LIB")) as made:

            def asked() -> str:
                assert made.process.stdin is not None
                print("?", file=made.process.stdin, flush=True)
                return made.line()

            assert asked() == "Forbidden"
            # A program of the same user can stop its launcher, so that nobody ends the program.
            made.process.send_signal(signal.SIGSTOP)
            try:
                scope = {"kind": "run", "id": lone.run()["id"]}
                lone.plane.control.post("/v1/revocations", scope=scope, reason="it lies")
                while lone.run()["state"] == "open":  # bounded by the test
                    pass
                assert [asked() for _ in range(3)] == ["Forbidden"] * 3
                lone.plane.kill()
                lone.plane.reaped()
                lone.plane.start()
                assert [asked() for _ in range(3)] == ["Forbidden"] * 3
            finally:
                made.process.send_signal(signal.SIGCONT)
            made.done()
    assert lone.plane.control.get("/v1/operator")


def test_a_process_that_somebody_else_started_is_nobodys_launch(agent: Agent) -> None:
    run, _ = agent.plane.open_run(agent.id)
    with pytest.raises(Forbidden, match="not started by whoever names it"):
        agent.plane.control.post(f"/v1/runs/{run}/launch", pid=os.getppid())
    with pytest.raises(NotFound):
        agent.plane.control.post(f"/v1/runs/{run}/launch", pid=2**22 + 1)
