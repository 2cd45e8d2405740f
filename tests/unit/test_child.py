"""Children: what they get, what is read of them, and that they end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from upstream_kit import until

from midflight.adapters.upstream.child import INHERITED, Child, ChildSpec
from midflight.domain.errors import UpstreamUnavailable

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return ("asyncio", {"use_uvloop": request.param})


class Ears:
    """Hears a child."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.end: str | None = None
        self.changed = asyncio.Event()

    def line(self, line: bytes) -> None:
        self.lines.append(line)
        self.changed.set()

    def ended(self, how: str) -> None:
        assert self.end is None
        self.end = how
        self.changed.set()

    async def until_lines(self, count: int) -> list[bytes]:
        async with asyncio.timeout(20):
            while len(self.lines) < count:
                self.changed.clear()
                await self.changed.wait()
        return self.lines

    async def until_end(self) -> str:
        async with asyncio.timeout(20):
            while self.end is None:
                self.changed.clear()
                await self.changed.wait()
        return self.end


async def _python(
    code: str, ears: Ears, *, env: dict[str, str] | None = None, max_line: int = 1 << 20
) -> Child:
    spec = ChildSpec(
        command=sys.executable,
        args=("-c", code),
        env=env or {},
        max_line=max_line,
        close_grace=0.3,
        term_grace=0.3,
    )
    return await Child.spawn(spec, peer="x", on_line=ears.line, on_end=ears.ended)


def _gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # A zombie of somebody else's is as gone.
    return b"Z" in Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[:1]


async def test_lines_go_both_ways() -> None:
    ears = Ears()
    child = await _python(
        "import sys\nfor l in sys.stdin: print('got', l, end='', flush=True)", ears
    )
    child.write(b"one\ntwo\n")
    assert await ears.until_lines(2) == [b"got one", b"got two"]
    await child.stop()
    assert ears.end == "it was stopped"
    assert _gone(child.pid)


async def test_it_gets_no_variable_of_the_gateway_beyond_a_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MIDFLIGHT_SECRET", "hunter2")
    monkeypatch.setenv("LANG", "C.UTF-8")
    ears = Ears()
    child = await _python(
        "import os, json; print(json.dumps(dict(os.environ)))", ears, env={"CONFIGURED": "yes"}
    )
    (line,) = await ears.until_lines(1)
    environment = json.loads(line)
    assert environment["CONFIGURED"] == "yes"
    # LC_CTYPE is what CPython adds to itself.
    assert environment.keys() - {"LC_CTYPE"} <= {*INHERITED, "CONFIGURED"}
    await child.stop()


async def test_it_gets_no_descriptor_beyond_three_and_a_session_of_its_own() -> None:
    ears = Ears()
    leak = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leak, True)
    code = (
        "import os, json, resource; fds = [int(f) for f in os.listdir('/proc/self/fd')];"
        "print(json.dumps([max(fds), os.getsid(0) == os.getpid() == os.getpgid(0),"
        "resource.getrlimit(resource.RLIMIT_CORE)]))"
    )
    child = await _python(code, ears)
    (line,) = await ears.until_lines(1)
    highest, own_session, core = json.loads(line)
    os.close(leak)
    assert highest <= 3  # the listing itself is the fourth
    assert own_session
    assert core == [0, 0]
    await child.stop()


async def test_its_spec_shows_no_secret() -> None:
    spec = ChildSpec(command="x", args=("--token=hunter2",), env={"TOKEN": "hunter2"})
    assert "hunter2" not in repr(spec)


async def test_a_program_that_is_not_there_is_unavailable() -> None:
    ears = Ears()
    for command in ("no-such-program-here", "/no/such/program"):
        with pytest.raises(UpstreamUnavailable, match="not found"):
            await Child.spawn(
                ChildSpec(command=command), peer="x", on_line=ears.line, on_end=ears.ended
            )
    with pytest.raises(UpstreamUnavailable, match="cannot be started"):
        await Child.spawn(
            ChildSpec(command=sys.executable, cwd="/no/such/place"),
            peer="x",
            on_line=ears.line,
            on_end=ears.ended,
        )


async def test_a_last_line_before_its_end_is_heard() -> None:
    ears = Ears()
    child = await _python("print('last words')", ears)
    assert await ears.until_end() == "it exited with status 0"
    assert ears.lines == [b"last words"]
    assert not child.alive
    assert _gone(child.pid)


async def test_much_on_stderr_does_not_stand_in_its_way_and_only_the_end_is_kept() -> None:
    ears = Ears()
    child = await _python(
        "import sys\nfor n in range(4000): sys.stderr.write('e' * 1000)\n"
        "sys.stderr.write('the end'); sys.stderr.flush(); print('done', flush=True)\n"
        "sys.stdin.read()",
        ears,
    )
    assert await ears.until_lines(1) == [b"done"]
    await until(lambda: child.stderr_tail().endswith("the end"))
    assert len(child.stderr_tail()) < 200_000
    await child.stop()


async def test_a_line_beyond_the_limit_kills_it() -> None:
    ears = Ears()
    child = await _python(
        "import sys\nwhile True: sys.stdout.write('x' * 65536)", ears, max_line=100_000
    )
    assert await ears.until_end() == "it sent a line of over 100000 bytes"
    assert ears.lines == []
    assert _gone(child.pid)


async def test_closing_its_output_ends_it() -> None:
    ears = Ears()
    child = await _python("import os, time; os.close(1); time.sleep(1000)", ears)
    assert await ears.until_end() == "it closed its output"
    assert _gone(child.pid)


async def test_a_child_that_ignores_everything_and_its_children_are_killed() -> None:
    ears = Ears()
    child = await _python(
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "pid = os.fork()\n"
        "if pid: print(pid, flush=True)\n"
        "while True: time.sleep(1000)",
        ears,
    )
    grandchild = int((await ears.until_lines(1))[0])
    assert not _gone(grandchild)
    await child.stop()
    assert _gone(child.pid)
    await until(lambda: _gone(grandchild))


async def test_grandchildren_end_with_a_child_that_exits_by_itself() -> None:
    ears = Ears()
    await _python(
        "import os, time\npid = os.fork()\nif pid: print(pid, flush=True)\nelse: time.sleep(1000)",
        ears,
    )
    grandchild = int((await ears.until_lines(1))[0])
    await ears.until_end()
    await until(lambda: _gone(grandchild))


async def test_stopping_finishes_when_its_caller_is_cancelled() -> None:
    ears = Ears()
    child = await _python("import time; print('up', flush=True); time.sleep(1000)", ears)
    await ears.until_lines(1)
    stopping = asyncio.ensure_future(child.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    await asyncio.gather(stopping, return_exceptions=True)
    await ears.until_end()
    assert _gone(child.pid)


async def test_a_child_dies_with_a_gateway_that_is_killed(tmp_path: Path) -> None:
    gateway = tmp_path / "gateway.py"
    gateway.write_text(
        "import asyncio, sys\n"
        "from midflight.adapters.upstream.child import Child, ChildSpec\n"
        "async def main():\n"
        "    spec = ChildSpec(command=sys.executable, args=('-c', 'import time, signal;"
        "print(1, flush=True); time.sleep(1000)'))\n"
        "    up = asyncio.Event()\n"
        "    child = await Child.spawn(spec, peer='x', on_line=lambda l: up.set(),"
        " on_end=lambda h: None)\n"
        "    await up.wait()\n"
        "    print(child.pid, flush=True)\n"
        "    await asyncio.sleep(1000)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(  # noqa: ASYNC220 -- the gateway of this test
        [sys.executable, str(gateway)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert not _gone(pid)
        process.send_signal(signal.SIGKILL)
        process.wait()
    await until(lambda: _gone(pid))
