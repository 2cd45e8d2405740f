"""A process that is not the workload tries to be taken for it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from attest_kit import registered, these
from daemon_kit import CONTAINER, DOCKER_GROUP, POD_GROUP, Answers, daemon, inspected, pods

from midflight.adapters.attestation.docker import DockerAttestor
from midflight.adapters.attestation.k8s import K8sAttestor
from midflight.adapters.attestation.local_http import over_socket
from midflight.adapters.attestation.proc_files import stat_of
from midflight.adapters.attestation.processes import LocalProcesses
from midflight.adapters.attestation.unix import UnixAttestor
from midflight.domain.attestation import Entry, Process, Selector
from midflight.domain.errors import Malformed, NotFound, Unauthenticated
from midflight.services.attestation import Attestation
from midflight.services.ports.attestation import Attestor
from midflight.testing.words import OPERATOR, WORKLOAD

pytestmark = pytest.mark.anyio


def attestation(*attestors: Attestor, timeout_s: float = 5.0) -> Attestation:
    return Attestation(
        attestors=attestors or (UnixAttestor(),), processes=LocalProcesses(), timeout_s=timeout_s
    )


def process_of(pid: int, *, uid: int | None = None, start: str | None = None) -> Process:
    stat = stat_of(pid)
    return Process(
        pid=pid,
        uid=os.geteuid() if uid is None else uid,
        gid=os.getegid(),
        start=start if start is not None else f"{pid}@{0 if stat is None else stat.started}",
    )


def waiting() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)


def end_unreaped(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin is not None
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)


class Between:
    """An attestor during which something happens to the process."""

    type = "unix"

    def __init__(self, happens: object) -> None:
        self._happens = happens

    async def attest(self, process: Process) -> Sequence[Selector]:
        assert callable(self._happens)
        self._happens()
        return [Selector.parse(f"unix:uid:{process.uid}")]


async def test_an_honest_process_is_established() -> None:
    attested = await attestation().attest(process_of(os.getpid()))
    assert attested.selectors >= these(f"unix:uid:{os.geteuid()}")
    assert attested.process == process_of(os.getpid()).start


async def test_a_peer_of_another_user_is_refused() -> None:
    # The kernel said one user at connect(2); the process is another one's now.
    with pytest.raises(Unauthenticated, match="another user"):
        await attestation().attest(process_of(os.getpid(), uid=os.geteuid() + 1))


async def test_a_peer_that_has_exited_is_refused() -> None:
    child = waiting()
    process = process_of(child.pid)
    child.communicate()
    with pytest.raises(Unauthenticated):
        await attestation().attest(process)


async def test_a_reused_process_number_is_refused() -> None:
    with pytest.raises(Unauthenticated, match="another process has its number"):
        await attestation().attest(process_of(os.getpid(), start=f"{os.getpid()}@1"))


@pytest.mark.parametrize("pid", [0, -1])
async def test_a_peer_without_a_number_is_refused(pid: int) -> None:
    with pytest.raises(Unauthenticated):
        await attestation().attest(process_of(pid, start="0@1"))


async def test_a_peer_that_the_kernel_does_not_vouch_for_is_refused() -> None:
    with pytest.raises(Unauthenticated, match="does not say"):
        await attestation().attest(process_of(os.getpid(), start=""))


async def test_a_peer_that_exits_while_it_is_looked_at_is_refused() -> None:
    child = waiting()
    with pytest.raises(Unauthenticated, match="ended"):
        await attestation(Between(child.communicate)).attest(process_of(child.pid))


async def test_a_peer_that_is_an_unreaped_zombie_is_refused() -> None:
    child = waiting()
    process = process_of(child.pid)
    end_unreaped(child)
    with pytest.raises(Unauthenticated):
        await attestation().attest(process)
    child.wait()


async def test_a_source_that_hangs_or_breaks_invents_nothing_and_stops_nobody() -> None:
    class Hanging:
        type = "docker"

        async def attest(self, process: Process) -> Sequence[Selector]:
            await asyncio.Event().wait()
            return [Selector.parse("docker:label:role:admin")]

    class Broken:
        type = "k8s"

        async def attest(self, process: Process) -> Sequence[Selector]:
            raise KeyError(process.pid)

    made = attestation(Hanging(), Broken(), UnixAttestor(), timeout_s=0.5)
    attested = await made.attest(process_of(os.getpid()))
    assert {selector.type for selector in attested.selectors} == {"unix"}


async def test_a_source_that_speaks_for_another_is_not_heard() -> None:
    class Forging:
        type = "docker"

        async def attest(self, process: Process) -> Sequence[Selector]:
            return [Selector.parse("unix:uid:0"), Selector.parse("launcher:run:run_a")]

    assert (await attestation(Forging()).attest(process_of(os.getpid()))).selectors == frozenset()


async def test_an_argument_list_alone_makes_nobody_a_workload() -> None:
    weak = these("unix:script:/opt/agent.py", "unix:cwd:/opt", "unix:venv:/opt/venv")
    async with registered() as made:
        with pytest.raises(Malformed, match="weak"):
            await made.registration.add(spiffe_id=WORKLOAD, selectors=weak, author=OPERATOR)
        # One that came into the store by another way matches nobody, either.
        await made.plane.store.put_entry(Entry(id="entry_x", spiffe_id=WORKLOAD, selectors=weak))
        await made.registration.start()
        assert not Entry(id="entry_x", spiffe_id=WORKLOAD, selectors=weak).matches(weak)
        assert [entry.id for entry in made.registration.list()] == ["entry_x"]


async def test_naming_a_control_group_like_a_container_makes_no_container() -> None:
    # A user may make groups below its own; the daemon's container is in another one.
    named = f"/user.slice/user-1000.slice/user@1000.service/docker-{CONTAINER}.scope"
    groups = {os.getpid(): named, 100: DOCKER_GROUP}
    answers = Answers({f"/containers/{CONTAINER}/json": inspected(main=100)})
    with tempfile.TemporaryDirectory(prefix="mf-") as folder, daemon(Path(folder), answers) as path:
        attestor = DockerAttestor(over_socket(path), cgroup=groups.get)
        assert list(await attestor.attest(process_of(os.getpid()))) == []


async def test_naming_a_control_group_like_a_pod_makes_no_pod() -> None:
    named = "/user.slice/user-1000.slice/user@1000.service" + POD_GROUP
    with (
        tempfile.TemporaryDirectory(prefix="mf-") as folder,
        daemon(Path(folder), Answers({"/pods": pods()})) as path,
    ):
        attestor = K8sAttestor(over_socket(path), cgroup=lambda _: named)
        assert list(await attestor.attest(process_of(os.getpid()))) == []


async def test_a_lineage_of_a_process_that_is_gone_is_none() -> None:
    child = waiting()
    child.communicate()
    with pytest.raises(NotFound):
        LocalProcesses().lineage(child.pid)
