"""The Workload API as the independent `spiffe` client sees it, in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from counterpart_kit import counterpart_python, in_child
from spiffe_kit import AUTHOR, OTHER_DOMAIN, REPORTS, TRIAGE, Mint, ServedApi, served

from midflight.domain.attestation import Entry
from midflight.domain.revocation import Scope, ScopeKind
from midflight.wire.spiffe import encode_bundle

pytestmark = [pytest.mark.spiffe, pytest.mark.conformance]

ALL_CALLS = """
import json, sys
from spiffe import WorkloadApiClient
with WorkloadApiClient(sys.argv[1]) as client:
    svid = client.fetch_x509_svid()
    context = client.fetch_x509_context()
    x509 = client.fetch_x509_bundles()
    token = client.fetch_jwt_svid(audience={"billing"})
    keys = client.fetch_jwt_bundles()
    validated = client.validate_jwt_svid(token.token, "billing")
    try:
        client.validate_jwt_svid(token.token, "payroll")
        wrong = "accepted"
    except Exception as error:
        wrong = type(error).__name__
    print(json.dumps({
        "x509": str(svid.spiffe_id),
        "chain": len(svid.cert_chain),
        "context": [str(s.spiffe_id) for s in context.x509_svids],
        "bundles": sorted(b.trust_domain.name for b in x509.bundles),
        "jwt": str(token.spiffe_id),
        "keys": sorted(b.trust_domain.name for b in keys.bundles),
        "validated": str(validated.spiffe_id),
        "wrong audience": wrong,
    }))
"""


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ServedApi]:
    with served(tmp_path) as one:
        one.do(lambda: one.mint.register(uid=os.geteuid()))
        yield one


def run(script: str, *arguments: str) -> Any:
    done = in_child(script, *arguments)
    assert done.returncode == 0, done.stderr[-3_000:]
    return json.loads(done.stdout)


def test_every_call_gives_the_client_what_it_expects(api: ServedApi) -> None:
    assert run(ALL_CALLS, api.address) == {
        "x509": TRIAGE,
        "chain": 2,
        "context": [TRIAGE],
        "bundles": ["example.test"],
        "jwt": TRIAGE,
        "keys": ["example.test"],
        "validated": TRIAGE,
        "wrong audience": "ValidateJwtSvidError",
    }


X509_SOURCE = """
import sys, threading
from spiffe import X509Source
pushed = threading.Event()
with X509Source(socket_path=sys.argv[1]) as source:
    first = source.svid.leaf.serial_number
    source.subscribe_for_updates(pushed.set)
    print(f"{first:x}", flush=True)
    while True:
        assert pushed.wait(30)
        pushed.clear()
        if source.svid.leaf.serial_number != first:
            break
    print(f"{source.svid.leaf.serial_number:x}", len(source.bundles), flush=True)
"""


@contextlib.contextmanager
def child(script: str, *arguments: str, **how: Any) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [counterpart_python(), "-I", "-c", script, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"]},
        **how,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    found = process.stdout.readline().strip()
    if not found:
        assert process.stderr is not None
        raise AssertionError(process.stderr.read()[-3_000:])
    return found


def test_a_source_is_given_its_next_svid_without_asking(api: ServedApi) -> None:
    with child(X509_SOURCE, api.address) as process:
        first = line(process)
        api.mint.clock.advance(1_801)  # half of an hour
        api.tell()
        second, bundles = line(process).split()
    serials = [record.id for record in api.mint.issued()]
    assert [int(one, 16) for one in serials] == [int(first, 16), int(second, 16)]
    assert bundles == "1"


JWT_SOURCE = """
import json, sys
from spiffe import JwtSource
with JwtSource(socket_path=sys.argv[1]) as source:
    svid = source.fetch_svid(audience={"billing", "payroll"})
    again = source.get_bundle_for_trust_domain(svid.spiffe_id.trust_domain)
    from spiffe import JwtSvid
    checked = JwtSvid.parse_and_validate(svid.token, again, {"billing"})
    print(json.dumps([str(checked.spiffe_id), sorted(checked.audience)]))
"""


def test_a_token_verifies_by_the_keys_that_the_source_holds(api: ServedApi) -> None:
    assert run(JWT_SOURCE, api.address) == [TRIAGE, ["billing", "payroll"]]


RPC = """
import sys, grpc
from spiffe._proto import workload_pb2 as pb, workload_pb2_grpc as stubs
channel = grpc.insecure_channel(sys.argv[1].replace("unix://", "unix:"))
stub = stubs.SpiffeWorkloadAPIStub(channel)
header = [tuple(pair.split("=", 1)) for pair in sys.argv[2:]]
def told(call):
    try:
        call()
        return "answered"
    except grpc.RpcError as error:
        return f"{error.code().name} {error.details()}"
calls = {
    "X509SVID": lambda: next(stub.FetchX509SVID(pb.X509SVIDRequest(), metadata=header)),
    "X509Bundles": lambda: next(stub.FetchX509Bundles(pb.X509BundlesRequest(), metadata=header)),
    "JWTSVID": lambda: stub.FetchJWTSVID(pb.JWTSVIDRequest(audience=["a"]), metadata=header),
    "JWTBundles": lambda: next(stub.FetchJWTBundles(pb.JWTBundlesRequest(), metadata=header)),
    "Validate": lambda: stub.ValidateJWTSVID(
        pb.ValidateJWTSVIDRequest(audience="a", svid="b.c.d"), metadata=header),
}
for name, call in calls.items():
    print(name, told(call), flush=True)
"""


@pytest.mark.parametrize("header", [[], ["workload.spiffe.io=false"], ["workload.spiffe.io=True"]])
def test_no_call_is_answered_without_the_security_header(api: ServedApi, header: list[str]) -> None:
    done = in_child(RPC, api.address, *header)
    told = [text.split(" ", 2)[1] for text in done.stdout.splitlines()]
    assert told == ["INVALID_ARGUMENT"] * 5, done.stderr
    assert len(api.refused) == 5
    assert api.mint.issued() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="another user can only be had by the superuser")
def test_a_user_without_a_workload_gets_nothing(api: ServedApi) -> None:
    assert as_nobody(api, "workload.spiffe.io=true") == ["PERMISSION_DENIED"] * 5
    assert {who for _, who in api.refused} == {"uid:65534"}
    assert api.mint.issued() == []


def as_nobody(api: ServedApi, header: str) -> list[str]:
    """The first word of each answer to a child that dropped to another user before it connects."""
    script = f"import os; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n{RPC}"
    # Modules are read before the user changes: its files may be out of reach afterwards.
    script = "import grpc, spiffe._proto.workload_pb2, spiffe._proto.workload_pb2_grpc\n" + script
    done = in_child(script, api.address, header)
    return [text.split(" ", 2)[1] for text in done.stdout.splitlines()]


WATCH = """
import sys, grpc
from spiffe._proto import workload_pb2 as pb, workload_pb2_grpc as stubs
stub = stubs.SpiffeWorkloadAPIStub(grpc.insecure_channel(sys.argv[1].replace("unix://", "unix:")))
header = [("workload.spiffe.io", "true")]
streams = [
    stub.FetchX509SVID(pb.X509SVIDRequest(), metadata=header),
    stub.FetchX509Bundles(pb.X509BundlesRequest(), metadata=header),
    stub.FetchJWTBundles(pb.JWTBundlesRequest(), metadata=header),
]
for stream in streams:
    next(stream)
print("open", flush=True)
for stream in streams:
    try:
        next(stream)
        print("answered", flush=True)
    except grpc.RpcError as error:
        print(error.code().name, flush=True)
try:
    stub.FetchJWTSVID(pb.JWTSVIDRequest(audience=["a"]), metadata=header)
    print("answered", flush=True)
except grpc.RpcError as error:
    print(error.code().name, flush=True)
"""


@pytest.mark.parametrize("how", ["disable", "revoke workload", "revoke owner", "revoke domain"])
def test_streams_of_a_workload_that_may_no_longer_act_end(api: ServedApi, how: str) -> None:
    kinds = {
        "revoke workload": Scope(kind=ScopeKind.WORKLOAD, id=TRIAGE),
        "revoke owner": Scope(kind=ScopeKind.OWNER, id="alice"),
        "revoke domain": Scope(kind=ScopeKind.TRUST_DOMAIN, id="example.test"),
    }
    with child(WATCH, api.address) as process:
        assert line(process) == "open"
        if how == "disable":
            api.do(lambda: api.mint.inventory.disable(TRIAGE, AUTHOR))
        else:
            api.do(lambda: api.mint.interruption.revoke(kinds[how], reason="r", author=AUTHOR))
        assert [line(process) for _ in range(4)] == ["PERMISSION_DENIED"] * 4


def test_a_process_is_every_workload_of_its_user_and_only_those_it_names(api: ServedApi) -> None:
    api.do(lambda: api.mint.register(REPORTS, uid=os.geteuid()))
    script = """
import json, sys
from spiffe import SpiffeId, WorkloadApiClient
with WorkloadApiClient(sys.argv[1]) as client:
    all_ids = sorted(str(s.spiffe_id) for s in client.fetch_x509_context().x509_svids)
    one = client.fetch_jwt_svid(audience={"a"}, subject=SpiffeId(sys.argv[2]))
    try:
        client.fetch_jwt_svid(audience={"a"}, subject=SpiffeId("spiffe://example.test/else"))
        other = "answered"
    except Exception as error:
        other = type(error).__name__
print(json.dumps([all_ids, str(one.spiffe_id), other]))
"""
    assert run(script, api.address, REPORTS) == [[REPORTS, TRIAGE], REPORTS, "FetchJwtSvidError"]


def test_a_new_root_is_pushed_before_anything_is_signed_by_it(api: ServedApi) -> None:
    mint = api.mint
    old = mint.authority.roots

    async def rotated() -> None:
        await mint.authority.rotate(root=True)
        await mint.bundles.refresh()

    with child(X509_SOURCE, api.address) as process:
        line(process)
        api.do(rotated)
        assert mint.authority.roots[: len(old)] == old
        assert len(mint.authority.roots) == 2
        mint.clock.advance(1_801)
        api.do(mint.authority.refresh)
        api.tell()
        line(process)
    assert mint.bundles.own.sequence == 2


FEDERATED = """
import json, sys
from spiffe import TrustDomain, WorkloadApiClient
with WorkloadApiClient(sys.argv[1]) as client:
    x509 = client.fetch_x509_bundles()
    context = client.fetch_x509_context()
    keys = client.fetch_jwt_bundles()
    try:
        validated = str(client.validate_jwt_svid(sys.argv[2], "billing").spiffe_id)
    except Exception as error:
        validated = type(error).__name__
    print(json.dumps([
        sorted(b.trust_domain.name for b in x509.bundles),
        sorted(b.trust_domain.name for b in context.x509_bundle_set.bundles),
        sorted(b.trust_domain.name for b in keys.bundles),
        validated,
    ]))
"""


@pytest.mark.parametrize("federates", [True, False])
def test_a_partner_is_known_to_those_who_federate_with_it_and_to_nobody_else(
    tmp_path: Path, federates: bool
) -> None:
    partner = Mint(tmp_path / "partner", domain=OTHER_DOMAIN)
    subject = f"spiffe://{OTHER_DOMAIN}/agents/billing"

    async def made() -> str:
        await partner.start()
        await partner.register(subject)
        entry = Entry(id="e", spiffe_id=subject, selectors=frozenset())
        return (await partner.svids.jwt(entry, ["billing"], proof="test")).token

    token = asyncio.run(made())
    bundle = encode_bundle(partner.bundles.own)
    names = [OTHER_DOMAIN] if federates else []
    with served(tmp_path / "ours", federated={OTHER_DOMAIN: bundle}, federates_with=names) as one:
        one.do(lambda: one.mint.register(uid=os.geteuid()))
        known = sorted(["example.test", *names])
        told = subject if federates else "ValidateJwtSvidError"
        assert run(FEDERATED, one.address, token) == [known, known, known, told]
        if federates:
            scope = Scope(kind=ScopeKind.TRUST_DOMAIN, id=OTHER_DOMAIN)
            one.do(lambda: one.mint.interruption.revoke(scope, reason="r", author=AUTHOR))
            ours = ["example.test"]
            expected = [ours, ours, ours, "ValidateJwtSvidError"]
            assert run(FEDERATED, one.address, token) == expected
