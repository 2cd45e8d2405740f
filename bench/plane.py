"""The bench's plane: `midflight up` as users run it, on one core, with 1,000 policies."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from midflight.apps.control.client import ControlClient
from midflight.domain.errors import MidflightError

DOMAIN = "bench.midflight.internal"
GATEWAY_CORE, LOAD_CORE = 0, 1
REVIEWED = {"look": ("read", "closed"), "hang": ("read", "closed"), "send": ("send", "closed")}


@dataclass
class Running:
    """A running plane."""

    url: str
    control: ControlClient
    pid: int
    folder: Path

    def agent(self, name: str) -> tuple[str, str]:
        """Register an agent; (SPIFFE ID, token of a fresh run)."""
        workload = f"spiffe://{DOMAIN}/agents/{name}"
        review = int(time.time()) + 86_400
        self.control.post(
            "/v1/workloads", id=workload, owner="bench", escalation="bench", review_by=review
        )
        return workload, self.token(workload)

    def token(self, workload: str) -> str:
        """A token of a fresh run."""
        run = self.control.post("/v1/runs", workload=workload, intent="bench", max_steps=900_000)
        return self.control.post("/v1/tokens", workload=workload, run=run["id"])["token"]

    def cpu_s(self) -> float:
        """CPU seconds of the gateway's process so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def policies(count: int) -> str:
    """`count` policies: two that permit, and many about other tools, as a large owner has."""
    lines = [
        '@id("reads") permit(principal, action in Action::"read", resource);',
        '@id("sends") permit(principal, action in Action::"send", resource);',
        '@id("runs") permit(principal, action == Action::"open_run", resource);',
    ]
    lines += [
        f'@id("other-{number}") forbid(principal, action, resource == Tool::"up/tool_{number}") '
        f"when {{ context.run.steps > {number} }};"
        for number in range(count - len(lines))
    ]
    return "\n".join(lines)


@contextlib.contextmanager
def upstream(*, tools: int = 0) -> Iterator[str]:
    """The echo upstream on the load's core; yields its URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.echo", str(LOAD_CORE)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "BENCH_TOOLS": str(tools)},
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def plane(url: str, *, count: int = 1_000, more: str = "") -> Iterator[Running]:
    """A plane in front of the upstream; `more` is TOML."""
    with tempfile.TemporaryDirectory(prefix="midflight-bench-") as name:
        folder = Path(name)
        (folder / "policies").mkdir()
        (folder / "policies" / "bench.cedar").write_text(policies(count))
        port = free_port()
        (folder / "midflight.toml").write_text(
            f'[gateway]\nlisten = "127.0.0.1:{port}"\n[identity]\ntrust_domain = "{DOMAIN}"\n'
            "[runs]\nmax_steps = 1000000\n"
            f'[[upstream]]\nname = "up"\nurl = "{url}"\nreach = "closed"\ntimeout = 600\n{more}'
        )
        log = (folder / "log").open("w")
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "midflight.apps.cli.main",
                "--config",
                str(folder / "midflight.toml"),
                "up",
            ],
            stdout=log,
            stderr=log,
        )
        os.sched_setaffinity(process.pid, {GATEWAY_CORE})
        control = ControlClient(folder / ".midflight" / "control.sock")
        try:
            _await(control, process, folder)
            yield Running(f"http://127.0.0.1:{port}/mcp/up", control, process.pid, folder)
        finally:
            process.terminate()
            process.wait()
            log.close()


def _await(control: ControlClient, process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + 30
    served: list[dict[str, str]] = []
    while not served:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError((folder / "log").read_text())
        with contextlib.suppress(MidflightError):
            served = control.get("/v1/tools")
        time.sleep(0.05)
    for tool in served:
        effect, reach = REVIEWED.get(tool["name"], ("read", "closed"))
        control.post(
            "/v1/tools/pin",
            upstream=tool["upstream"],
            name=tool["name"],
            digest=tool["digest"],
            effect=effect,
            reach=reach,
        )
    # Policies are held against what is pinned, a second of a thread: not while it is measured.
    control.post("/v1/policies/activate")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
