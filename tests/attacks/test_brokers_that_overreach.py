"""Brokers that ask for what they may not, or are none, at a real Broker Endpoint."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from broker_kit import (
    CLASSES,
    DOMAIN,
    ENDPOINT,
    PROXY,
    STRANGER,
    TRIAGE,
    House,
    broker_house,
    fetch,
    packed,
    subscribe,
    workload,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from svid_forge import authority

from midflight.apps.broker_api.descriptors import DETAILS
from midflight.apps.broker_api.server import MAX_CONNECTIONS
from midflight.apps.server.tls import pem_of
from midflight.apps.workload_api import proto
from midflight.testing import FakeClock

_DENIED = grpc.StatusCode.PERMISSION_DENIED


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with broker_house(tmp_path_factory.mktemp("broker")) as made:
        yield made


def refusal(channel: grpc.Channel, **fields: Any) -> Any:
    with pytest.raises(grpc.RpcError) as refused:
        fetch(channel, **fields)
    return refused.value


def reason(error: Any) -> str:
    """The `google.rpc.ErrorInfo` that a client reads (Broker API §4.8)."""
    table = {
        "Status": (
            ("code", "int32"), ("message", "string"), ("details", "[].google.protobuf.Any"),
        ),
        "ErrorInfo": (("reason", "string"), ("domain", "string")),
    }  # fmt: skip
    classes = proto.messages(table, package="google.rpc")
    raw = dict(error.trailing_metadata())[DETAILS]
    status = classes["Status"].FromString(raw)
    assert (status.code, status.message) == (error.code().value[0], error.details())
    info = classes["ErrorInfo"].FromString(status.details[0].value)
    assert info.domain == "spiffe.io"
    return str(info.reason)


def test_a_workload_that_is_no_broker_represents_nobody(house: House) -> None:
    with workload() as process, house.channel(house.svid(STRANGER)) as channel:
        error = refusal(channel, reference=packed(process.pid))
        assert error.code() is grpc.StatusCode.PERMISSION_DENIED


def test_a_broker_gets_nobody_but_the_workloads_it_represents(tmp_path: Path) -> None:
    with (
        broker_house(tmp_path, workloads=[f"spiffe://{DOMAIN}/agents/other"]) as house,
        workload() as process,
        house.channel(house.svid()) as channel,
    ):
        error = refusal(channel, reference=packed(process.pid))
        assert error.code() is grpc.StatusCode.PERMISSION_DENIED
        assert reason(error) == "WORKLOAD_NOT_ENTITLED"
        error = refusal(channel, reference=packed(process.pid), spiffe_id=TRIAGE)
        assert error.code() is grpc.StatusCode.PERMISSION_DENIED
        assert TRIAGE not in {record["subject"] for record in house.plane.records("issued")}


def test_a_broker_names_no_identity_that_the_process_has_not(house: House) -> None:
    with workload() as process, house.channel(house.svid()) as channel:
        for wanted in (PROXY, ENDPOINT, f"spiffe://{DOMAIN}/"):
            error = refusal(channel, reference=packed(process.pid), spiffe_id=wanted)
            assert error.code() in {
                grpc.StatusCode.PERMISSION_DENIED,
                grpc.StatusCode.INVALID_ARGUMENT,
            }


def test_without_a_certificate_or_with_a_forged_one_there_is_no_connection(
    house: House, tmp_path: Path
) -> None:
    def served(svid: Any) -> bool:
        try:
            with house.connect(svid) as connection:
                # TLS 1.3 tells a client that it is refused when it first reads.
                connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))
                return bool(connection.recv(9))
        except OSError:
            return False

    assert served(house.svid())
    assert not served(None)
    with broker_house(tmp_path) as impostor:
        assert not served(impostor.svid())


def test_one_user_has_its_share_of_the_connections_and_no_more(tmp_path: Path) -> None:
    with broker_house(tmp_path) as house, contextlib.ExitStack() as held:
        for _ in range(MAX_CONNECTIONS):
            one = held.enter_context(house.connect(house.svid()))
            assert one.recv(9)  # gRPC greets: it is served
        with pytest.raises(OSError):  # noqa: PT011 -- reset, or an end before the handshake
            house.connect(house.svid())


def test_plain_grpc_is_not_served(house: House) -> None:
    with workload() as process, grpc.insecure_channel(f"unix:{house.socket}") as channel:
        assert refusal(channel, reference=packed(process.pid)).code() in {
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.DEADLINE_EXCEEDED,
        }


def test_the_endpoint_proves_itself_and_no_workload_can_be_registered_as_it(house: House) -> None:
    with house.connect(house.svid()) as connection:
        certificate: Any = connection.getpeercert()
        assert connection.version() == "TLSv1.3"
    assert certificate["subjectAltName"] == (("URI", ENDPOINT),)
    with pytest.raises(Exception, match="kept for Midflight"):
        house.plane.register(ENDPOINT)


def test_a_process_that_is_gone_has_no_identity(house: House) -> None:
    with workload() as process:
        process.kill()
        process.wait()
        with house.channel(house.svid()) as channel:
            error = refusal(channel, reference=packed(process.pid))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert reason(error) == "WORKLOAD_NOT_FOUND"


def test_neither_a_thread_nor_what_is_left_of_a_process_is_one(house: House) -> None:
    """One that has ended keeps its number until it is waited for; threads have numbers, too."""
    threads = {int(task.name) for task in Path("/proc/self/task").iterdir()} - {os.getpid()}
    with subprocess.Popen(["true"]) as process, house.channel(house.svid()) as channel:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        for number in (process.pid, *sorted(threads)[:2]):
            error = refusal(channel, reference=packed(number))
            assert error.code() is grpc.StatusCode.NOT_FOUND
            assert reason(error) == "WORKLOAD_NOT_FOUND"


def test_streams_that_are_given_up_in_every_phase_leave_nothing_open(house: House) -> None:
    def held() -> int:
        """Processes that are held in this process, which the plane shares."""
        found = 0
        for each in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found += "pidfd" in str(each.readlink())
        return found

    changes = house.plane.plane.spiffe.api.changes

    async def turns() -> None:
        changes.tell()
        for _ in range(200):
            await asyncio.sleep(0)

    before = held()
    with workload() as process, house.channel(house.svid()) as channel:
        reference = packed(process.pid)
        for phase in range(60):
            with subscribe(channel, "X509Bundles", reference=reference) as answers:
                if phase % 3 == 0:
                    next(answers)
                elif phase % 3 == 1:
                    house.plane.do(turns)
        # The channel is still open: it is the streams that let go.
        assert fetch(channel, reference=reference).svids
        for _ in range(500):
            house.plane.do(turns)
            if held() == before:
                break
        assert held() == before
    assert not changes._waiting


@pytest.mark.parametrize(
    "reference",
    [
        None,
        CLASSES["WorkloadReference"](),
        packed(0),
        packed(-1),
        packed(1, kind="type.googleapis.com/spiffe.broker.KubernetesObjectReference"),
        packed(1, kind="type.googleapis.com/other.WorkloadPIDReference"),
    ],
)
def test_a_reference_that_is_none_is_told_so(house: House, reference: Any) -> None:
    fields = {} if reference is None else {"reference": reference}
    with house.channel(house.svid()) as channel:
        error = refusal(channel, **fields)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason(error) == "WORKLOAD_REFERENCE_INVALID"


def test_whatever_a_reference_holds_is_a_status(house: House) -> None:
    with house.channel(house.svid(STRANGER)) as strange, house.channel(house.svid()) as channel:

        @given(raw=st.binary(max_size=64))
        @settings(max_examples=100, deadline=None)
        def told(raw: bytes) -> None:
            reference = packed(1)
            # Never a field of that number: it might be a process of ours.
            reference.reference.value = raw.replace(b"\x08", b"\x09")
            assert refusal(channel, reference=reference).code() in {
                grpc.StatusCode.INVALID_ARGUMENT,
                grpc.StatusCode.NOT_FOUND,
                grpc.StatusCode.PERMISSION_DENIED,
            }
            assert refusal(strange, reference=reference).code() is _DENIED

        told()


ELSEWHERE = """
import socket, ssl, sys
path, svid, bundle = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.set_alpn_protocols(["h2"])
context.load_verify_locations(bundle)
context.load_cert_chain(svid)
raw = socket.socket(socket.AF_UNIX)
raw.settimeout(30)
raw.connect(path)
try:
    with context.wrap_socket(raw) as connection:
        connection.sendall(b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n" + bytes(9))
        print("served" if connection.recv(9) else "closed")
except OSError:
    print("closed")
"""


def test_numbers_of_another_pid_namespace_are_not_taken_for_ours(
    house: House, tmp_path: Path
) -> None:
    """Process 1 of a container is not our process 1 (Broker API §3.1.2)."""
    svid = house.svid()
    (tmp_path / "svid.pem").write_bytes(pem_of(svid.chain, svid.key))
    roots = house.plane.plane.spiffe.bundles.own.x509_authorities
    (tmp_path / "bundle.pem").write_text("".join(map(ssl.DER_cert_to_PEM_cert, roots)))
    command = [
        *(sys.executable, "-c", ELSEWHERE, house.socket),
        *(str(tmp_path / "svid.pem"), str(tmp_path / "bundle.pem")),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "served\n", done.stderr
    apart = ["unshare", *(["--map-root-user"] if os.geteuid() else []), "--pid", "--fork"]
    done = subprocess.run(
        [*apart, *command], capture_output=True, text=True, timeout=60, check=False
    )
    if "unshare failed" in done.stderr:
        pytest.skip("this machine gives no PID namespaces to us")
    assert done.stdout == "closed\n", done.stderr


def test_a_process_of_another_user_is_not_the_workload_of_this_one(house: House) -> None:
    # Process 1 is of root; where the tests are root's, so is it, and then a nobody's is looked at.
    if os.geteuid() != 0:
        with house.channel(house.svid()) as channel:
            error = refusal(channel, reference=packed(1))
            assert error.code() is grpc.StatusCode.PERMISSION_DENIED
        return
    with (
        subprocess.Popen(["sleep", "60"], user=65_534) as process,
        house.channel(house.svid()) as channel,
    ):
        try:
            error = refusal(channel, reference=packed(process.pid))
            assert error.code() is grpc.StatusCode.PERMISSION_DENIED
        finally:
            process.kill()


def test_an_authority_that_is_withdrawn_takes_its_brokers_along(tmp_path: Path) -> None:
    with (
        broker_house(tmp_path) as house,
        workload() as process,
        house.channel(house.svid()) as channel,
        subscribe(channel, "X509SVID", reference=packed(process.pid)) as answers,
    ):
        next(answers)
        bundles: Any = house.plane.plane.spiffe.bundles

        class Another:
            roots = (authority().der,)

        bundles._authority = Another()
        house.plane.do(bundles.refresh)
        with pytest.raises(grpc.RpcError) as ended:
            next(answers)
        assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED  # type: ignore[attr-defined] # of grpc's own making
        error = refusal(channel, reference=packed(process.pid))
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_certificate_that_has_ended_ends_its_streams(tmp_path: Path) -> None:
    with (
        broker_house(tmp_path) as house,
        workload() as process,
        house.channel(house.svid()) as channel,
        subscribe(channel, "X509SVID", reference=packed(process.pid)) as answers,
    ):
        next(answers)
        broker: Any = house.plane.plane.spiffe.broker
        broker._calls._clock = FakeClock(house.svid().expires_at)

        async def wake() -> None:
            house.plane.plane.spiffe.api.changes.tell()

        house.plane.do(wake)
        with pytest.raises(grpc.RpcError) as ended:
            next(answers)
        assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED  # type: ignore[attr-defined] # of grpc's own making
