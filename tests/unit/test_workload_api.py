"""The Workload API's own parts: its messages, its limits, its socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from counterpart_kit import ROOT, in_child
from google.protobuf import descriptor_pool
from spiffe_kit import TRIAGE, ServedApi, served

from midflight.apps.workload_api.changes import AT_ONCE, Changes
from midflight.apps.workload_api.descriptors import messages
from midflight.apps.workload_api.front import MAX_OF_ONE_USER

HEADER = (("workload.spiffe.io", "true"),)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ServedApi]:
    with served(tmp_path) as one:
        one.do(lambda: one.mint.register(uid=os.geteuid()))
        yield one


def test_our_messages_are_in_no_pool_that_others_use() -> None:
    made = messages()
    assert made["X509SVID"](spiffe_id="s").spiffe_id == "s"
    assert messages()["X509SVID"] is not made["X509SVID"]  # as often as one likes
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("X509SVIDRequest")


BESIDE = """
import json, sys
first = sys.argv[2] == "first"
def theirs():
    global pb
    from spiffe._proto import workload_pb2 as pb
def ours():
    global made
    sys.path.append(sys.argv[1])
    from midflight.apps.workload_api.descriptors import messages
    made = messages()
for load in ((ours, theirs) if first else (theirs, ours)):
    load()
sent = made["X509SVIDResponse"](
    svids=[made["X509SVID"](
        spiffe_id="a", x509_svid=b"b", x509_svid_key=b"c", bundle=b"d", hint="e")],
    crl=[b"f"], federated_bundles={"g": b"h"})
got = pb.X509SVIDResponse.FromString(sent.SerializeToString())
one = got.svids[0]
seen = [one.spiffe_id, one.x509_svid.decode(), one.x509_svid_key.decode(), one.bundle.decode(),
        one.hint, got.crl[0].decode(), got.federated_bundles["g"].decode()]
asked = pb.JWTSVIDRequest(audience=["x", "y"], spiffe_id="z").SerializeToString()
read = made["JWTSVIDRequest"].FromString(asked)
seen += [list(read.audience), read.spiffe_id]
answer = made["ValidateJWTSVIDResponse"](spiffe_id="i")
answer.claims.update({"aud": ["j"], "exp": 5})
back = pb.ValidateJWTSVIDResponse.FromString(answer.SerializeToString())
seen += [back.spiffe_id, list(back.claims["aud"]), back.claims["exp"]]
for name in ("X509BundlesResponse", "JWTBundlesResponse"):
    raw = made[name](bundles={"k": b"l"}).SerializeToString()
    seen.append(getattr(pb, name).FromString(raw).bundles["k"].decode())
raw = made["JWTSVIDResponse"](svids=[made["JWTSVID"](spiffe_id="m", svid="n", hint="o")])
svid = pb.JWTSVIDResponse.FromString(raw.SerializeToString()).svids[0]
seen += [svid.spiffe_id, svid.svid, svid.hint]
print(json.dumps(seen))
"""


@pytest.mark.spiffe
@pytest.mark.parametrize("order", ["first", "second"])
def test_the_client_of_others_loads_beside_us_and_reads_what_we_write(order: str) -> None:
    done = in_child(BESIDE, str(ROOT / "src"), order)
    assert done.returncode == 0, done.stderr[-2_000:]
    assert json.loads(done.stdout) == [
        *"abcdefgh"[:5],
        "f",
        "h",
        ["x", "y"],
        "z",
        "i",
        ["j"],
        5.0,
        *"ll",
        *"mno",
    ]


def call(channel: grpc.Channel, name: str, **fields: object) -> object:
    """One unary call by our own messages."""
    made = messages()
    method = channel.unary_unary(
        f"/SpiffeWorkloadAPI/Fetch{name}",
        request_serializer=made[f"{name}Request"].SerializeToString,
        response_deserializer=made[f"{name}Response"].FromString,
    )
    return method(made[f"{name}Request"](**fields), metadata=HEADER, timeout=30)


def test_a_request_that_is_too_large_or_asks_for_nothing_is_refused(api: ServedApi) -> None:
    with grpc.insecure_channel(f"unix:{api.socket}") as channel:
        for fields, status in (
            ({"audience": ["a" * 100_000]}, grpc.StatusCode.RESOURCE_EXHAUSTED),
            ({"audience": []}, grpc.StatusCode.INVALID_ARGUMENT),
            ({"audience": [""]}, grpc.StatusCode.INVALID_ARGUMENT),
            ({"audience": ["a"], "spiffe_id": "no id"}, grpc.StatusCode.INVALID_ARGUMENT),
        ):
            with pytest.raises(grpc.RpcError) as refused:
                call(channel, "JWTSVID", **fields)
            assert refused.value.code() is status
        answer = call(channel, "JWTSVID", audience=["a"])
        assert [svid.spiffe_id for svid in answer.svids] == [TRIAGE]  # type: ignore[attr-defined] # made at run time


def test_a_user_has_its_share_of_the_connections_and_no_more(api: ServedApi) -> None:
    with contextlib.ExitStack() as held:
        for _ in range(MAX_OF_ONE_USER):
            one = held.enter_context(socket.socket(socket.AF_UNIX))
            one.settimeout(30)
            one.connect(str(api.socket))
            assert one.recv(9)  # gRPC greets: it is served
        assert api.front.connections == MAX_OF_ONE_USER
        with socket.socket(socket.AF_UNIX) as more:
            more.settimeout(30)
            more.connect(str(api.socket))
            with contextlib.suppress(ConnectionResetError):
                assert more.recv(9) == b""
        assert api.front.refused == 1


def test_who_reaches_the_private_socket_has_no_identity_there(api: ServedApi) -> None:
    # Only our own user can; even so nobody vouches for it.
    backend = api.front._backend
    assert backend.parent.stat().st_mode & 0o777 == 0o700
    with grpc.insecure_channel(f"unix:{backend}") as channel, pytest.raises(grpc.RpcError) as why:
        call(channel, "JWTSVID", audience=["a"])
    assert why.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert api.refused[-1][1] == "unknown"


def test_garbage_ends_its_connection_and_no_other(api: ServedApi) -> None:
    with grpc.insecure_channel(f"unix:{api.socket}") as channel:
        call(channel, "JWTSVID", audience=["a"])
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", os.urandom(4_096), b"PRI * HTTP/2.0\r\n\r\nSM"):
            with socket.socket(socket.AF_UNIX) as one:
                one.settimeout(30)
                one.connect(str(api.socket))
                one.sendall(garbage)
                one.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ConnectionResetError):
                    while one.recv(4_096):
                        pass
        call(channel, "JWTSVID", audience=["a"])


@pytest.mark.anyio
async def test_nothing_that_happens_while_a_stream_looks_is_missed() -> None:
    changes = Changes()
    ticket = changes.ticket()
    changes.tell()
    await changes.after(ticket)
    assert changes.ticket() != ticket


@pytest.mark.anyio
async def test_streams_are_woken_a_few_in_each_turn_and_none_is_forgotten() -> None:
    changes, looked = Changes(), [0] * 100

    async def stream(number: int) -> None:
        while True:
            ticket = changes.ticket()
            looked[number] += 1
            await changes.after(ticket)

    streams = [asyncio.ensure_future(stream(number)) for number in range(len(looked))]
    await asyncio.sleep(0)
    assert sum(looked) == 100
    for gone in streams[10:20]:
        gone.cancel()
    changes.tell()
    for _ in range(3):
        before = sum(looked)
        await asyncio.sleep(0)
        assert sum(looked) - before <= AT_ONCE
    changes.tell()  # while the first round is not over: those who looked before it look once more
    for _ in range(100):
        before = sum(looked)
        await asyncio.sleep(0)
        assert sum(looked) - before <= 2 * AT_ONCE
    assert {looked[number] for number in range(10, 20)} == {1}
    assert {looked[n] for n in (*range(10), *range(20, 100))} <= {2, 3}
    for each in streams:
        each.cancel()
    await asyncio.gather(*streams, return_exceptions=True)


@pytest.mark.anyio
async def test_a_stream_that_waits_again_is_woken_by_the_next_change_only() -> None:
    changes = Changes()
    changes.tell()
    waiting = asyncio.ensure_future(changes.after(changes.ticket()))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    changes.tell()
    await waiting
