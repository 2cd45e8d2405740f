"""What attestors establish, and what they leave out."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon_kit import (
    CONTAINER,
    DOCKER_GROUP,
    POD,
    POD_GROUP,
    Answers,
    daemon,
    inspected,
    pods,
)

from midflight.adapters.attestation.docker import DockerAttestor
from midflight.adapters.attestation.file_digests import FileDigests
from midflight.adapters.attestation.k8s import K8sAttestor
from midflight.adapters.attestation.local_http import over_socket
from midflight.adapters.attestation.proc import pod_of, read_cgroup, unit_of
from midflight.adapters.attestation.processes import LocalProcesses
from midflight.adapters.attestation.systemd import SystemdAttestor
from midflight.adapters.attestation.unix import UnixAttestor, script_of
from midflight.domain.attestation import Process
from midflight.domain.errors import NotFound, Unavailable

pytestmark = pytest.mark.anyio

OURS = Process(pid=os.getpid(), uid=os.geteuid(), gid=os.getegid(), start="")


@pytest.fixture
def short() -> Iterator[Path]:
    # Socket paths are short, and those of pytest are not.
    with tempfile.TemporaryDirectory(prefix="mf-") as folder:
        yield Path(folder)


KIND_GROUP = (
    "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod"
    f"{POD.replace('-', '_')}.slice/cri-containerd-{CONTAINER}.scope"
)


# unix


async def test_a_process_has_its_user_program_and_hash() -> None:
    found = {str(selector) for selector in await UnixAttestor().attest(OURS)}
    exe = os.path.realpath("/proc/self/exe")
    digest = hashlib.sha256(Path(exe).read_bytes()).hexdigest()
    assert {f"unix:uid:{os.geteuid()}", f"unix:gid:{os.getegid()}"} <= found
    assert {f"unix:path:{exe}", f"unix:sha256:{digest}"} <= found
    assert {f"unix:supplementary_gid:{group}" for group in os.getgroups()} <= found
    assert f"unix:cwd:{Path.cwd()}" in found


def started(folder: Path) -> subprocess.Popen[bytes]:
    child = subprocess.Popen(
        [sys.executable, "agent.py"], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    child.stdout.readline()
    return child


async def test_a_script_is_known_by_path_and_hash_and_only_weakly(tmp_path: Path) -> None:
    script = tmp_path / "agent.py"
    script.write_text("import sys; print(1, flush=True); sys.stdin.read()")
    child = started(tmp_path)
    process = Process(pid=child.pid, uid=os.geteuid(), gid=os.getegid(), start="")
    selectors = await UnixAttestor().attest(process)
    child.communicate()
    found = {str(selector): selector.weak for selector in selectors}
    digest = hashlib.sha256(script.read_bytes()).hexdigest()
    assert found[f"unix:script:{script}"]
    assert found[f"unix:script_sha256:{digest}"]
    assert found[f"unix:parent:{os.path.realpath('/proc/self/exe')}"]
    assert not found[f"unix:uid:{os.geteuid()}"]


@pytest.mark.parametrize(
    ("path", "arguments", "script"),
    [
        ("/usr/bin/python3.11", ("python3", "-I", "a.py", "b.py"), "a.py"),
        ("/usr/bin/python3.11", ("python3", "-c", "a.py"), None),
        ("/usr/bin/python3.11", ("python3",), None),
        ("/usr/bin/python3.11", (), None),
        ("/usr/bin/agent", ("agent", "a.py"), None),
    ],
)
def test_a_script_is_what_an_interpreter_was_given(
    path: str, arguments: tuple[str, ...], script: str | None
) -> None:
    assert script_of(path, arguments) == script


def test_a_digest_is_of_what_the_file_is_now(tmp_path: Path) -> None:
    file = tmp_path / "program"
    file.write_bytes(b"one")
    digests = FileDigests()
    before = file.stat()
    assert digests.of(str(file)) == hashlib.sha256(b"one").hexdigest()
    file.write_bytes(b"two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # as an owner hides a change
    assert digests.of(str(file)) == hashlib.sha256(b"two").hexdigest()


def test_what_is_too_large_or_no_file_has_no_digest(tmp_path: Path) -> None:
    large, pipe = tmp_path / "large", tmp_path / "pipe"
    large.write_bytes(b"x" * 101)
    os.mkfifo(pipe)  # opening it would wait for ever
    digests = FileDigests(100)
    for path in (large, pipe, tmp_path, tmp_path / "gone", Path("/dev/zero")):
        assert digests.of(str(path)) is None


# systemd


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("/system.slice/agent.service", "agent.service"),
        ("/system.slice/agent.service/worker", "agent.service"),
        ("/machine.slice/machine-a.slice/x.scope", "x.scope"),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/agent.service",
            "user@1000.service",
        ),
        ("/init", None),
        ("/a.slice", None),
        ("/free/agent.service", None),
    ],
)
async def test_a_unit_is_the_first_that_is_no_slice(path: str, unit: str | None) -> None:
    assert unit_of(path) == unit
    found = await SystemdAttestor(lambda _: path).attest(OURS)
    assert [str(selector) for selector in found] == ([] if unit is None else [f"systemd:id:{unit}"])


def test_a_control_group_outside_of_ours_is_none() -> None:
    assert read_cgroup(b"0::/../../evil.service\n") is None
    assert read_cgroup(b"0::/\n1:name=systemd:/a.service\n") == "/a.service"
    assert read_cgroup(b"5:cpu:/docker/x\n0::/b.service\n") == "/b.service"


# docker


async def docker(folder: Path, answers: Answers, **more: object) -> set[str]:
    groups = {OURS.pid: DOCKER_GROUP, 100: DOCKER_GROUP, 200: "/system.slice/other.scope"}
    with daemon(folder, answers) as path:
        attestor = DockerAttestor(over_socket(path), cgroup=groups.get, env=["ROLE"])
        return {str(selector) for selector in await attestor.attest(OURS)}


async def test_a_container_is_what_its_daemon_says(short: Path) -> None:
    answers = Answers({f"/containers/{CONTAINER}/json": inspected()})
    assert await docker(short, answers) == {
        "docker:label:com.example.role:triage",
        "docker:env:ROLE=triage",
        "docker:image_id:registry.example/agent:1",
        "docker:image_config_digest:sha256:" + "ab" * 32,
    }


@pytest.mark.parametrize(
    "said", [None, [], inspected(main=200), inspected() | {"Id": "00" * 32}, inspected(main=0)]
)
async def test_a_container_that_its_daemon_does_not_know_so_is_none(
    short: Path, said: object
) -> None:
    assert await docker(short, Answers({f"/containers/{CONTAINER}/json": said})) == set()


async def test_a_daemon_that_fails_establishes_nothing(short: Path) -> None:
    answers = Answers({f"/containers/{CONTAINER}/json": inspected()})
    answers.status = 500
    with pytest.raises(Unavailable):
        await docker(short, answers)
    answers.status, answers.raw = 200, b"{" * 100_000
    (short / "daemon.sock").unlink()
    with pytest.raises(Unavailable):
        await docker(short, answers)
    gone = DockerAttestor(over_socket(str(short / "gone")), cgroup=lambda _: DOCKER_GROUP)
    with pytest.raises(Unavailable):
        await gone.attest(OURS)


async def test_a_process_in_no_container_asks_no_daemon(short: Path) -> None:
    attestor = DockerAttestor(over_socket(str(short / "gone")), cgroup=lambda _: "/a.service")
    assert list(await attestor.attest(OURS)) == []


# k8s


async def k8s(folder: Path, answers: Answers, group: str = POD_GROUP) -> set[str]:
    token = folder / "token"
    token.write_text("kubelet-token\n")
    with daemon(folder, answers) as path:
        attestor = K8sAttestor(over_socket(path), token_file=token, cgroup=lambda _: group)
        return {str(selector) for selector in await attestor.attest(OURS)}


async def test_a_pod_is_what_its_kubelet_says(short: Path) -> None:
    answers = Answers({"/pods": pods()})
    assert await k8s(short, answers) == {
        "k8s:ns:agents",
        "k8s:sa:triage",
        "k8s:pod-name:triage-0",
        f"k8s:pod-uid:{POD}",
        "k8s:node-name:node-1",
        "k8s:container-name:agent",
        "k8s:container-image:registry.example/agent:1",
        "k8s:pod-label:app:triage",
    }
    assert answers.seen[0][1]["authorization"] == "Bearer kubelet-token"


@pytest.mark.parametrize("said", [None, {}, {"items": [1]}, pods("containerd://" + "00" * 32)])
async def test_a_pod_that_the_kubelet_does_not_list_so_is_none(short: Path, said: object) -> None:
    assert await k8s(short, Answers({"/pods": said})) == set()


@pytest.mark.parametrize(
    "group",
    [
        f"/kubepods/burstable/pod{POD}/{CONTAINER}",
        KIND_GROUP,
    ],
)
def test_pods_are_known_however_their_groups_are_named(group: str) -> None:
    assert pod_of(group) == POD


# processes


def test_a_lineage_leads_from_a_process_to_its_ancestors() -> None:
    chain = LocalProcesses().lineage(os.getpid())
    assert chain[0].startswith(f"{os.getpid()}@")
    assert chain[1].startswith(f"{os.getppid()}@")


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 1])
def test_a_process_that_is_not_there_is_not_held(pid: int) -> None:
    with pytest.raises(NotFound):
        LocalProcesses().hold(pid)
