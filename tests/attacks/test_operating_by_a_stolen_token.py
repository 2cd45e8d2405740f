"""An operator token that was stolen: what it does not open, and what strangers on TCP are told."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from control_kit import RunningPlane, running_plane

# Each of them would outlive the token: a login of an hour, a credential, a program with a run, and
# whatever makes somebody a workload or its client.
SOCKET_ONLY = {
    ("POST", "/v1/login-codes"): {},
    ("POST", "/v1/credentials"): {"name": "stolen", "backend": "static", "secret": "x"},
    ("POST", "/v1/runs/{id}/launch"): {"pid": 1},
    ("POST", "/v1/operator/tokens"): {},
    ("POST", "/v1/clients"): {"id": "stolen", "workload": "spiffe://midflight.internal/a"},
    ("POST", "/v1/entries"): {"spiffe_id": "spiffe://midflight.internal/a", "selectors": ["a:b"]},
    ("POST", "/v1/join-tokens"): {"spiffe_id": "spiffe://midflight.internal/a"},
    ("POST", "/v1/credentials/{name}/login"): {},
    ("POST", "/v1/credentials/{name}/login/{login}"): {},
    # Whoever answers for people, or lets everything pass without them.
    ("POST", "/v1/approvers"): {"name": "stolen"},
    ("POST", "/v1/approvers/change"): {"name": "stolen", "groups": ["security"]},
    ("POST", "/v1/approvers/reset"): {"name": "stolen"},
    ("POST", "/v1/approvers/enroll"): {"name": "stolen"},
    ("POST", "/v1/break-glass"): {"workload": "spiffe://x/a", "reason": "x", "for_s": 60},
    ("POST", "/v1/break-glass/{id}/review"): {"note": "x"},
    # What stops somebody, or finds him.
    ("POST", "/v1/revocations/{id}/lift"): {"reason": "x"},
    ("POST", "/v1/responses/{id}/lift"): {"reason": "x"},
    ("POST", "/v1/canaries/remove"): {"name": "x"},
    ("POST", "/v1/baseline/forget"): {"workload": "spiffe://x/a"},
    ("POST", "/v1/baseline/accept"): {"run": "run_x"},
    ("POST", "/v1/ssf/streams/status"): {"stream_id": "x", "status": "disabled"},
}

# What a token may do for as long as it lives: each of them is on record with its author, and is
# asked about, narrows, ends by itself or is undone by an operator. A new operation that changes
# something goes onto one of these lists, and its author says why.
BY_TOKEN = {
    "/v1/approvals/{id}/approve",  # for one digest, once
    "/v1/approvals/{id}/refuse",
    "/v1/break-glass/{id}/close",
    "/v1/bundles/rotate",
    "/v1/canaries",
    "/v1/clients/remove",
    "/v1/counterparties",
    "/v1/counterparties/remove",
    "/v1/credentials/{name}/remove",
    "/v1/credentials/{name}/test",
    "/v1/entries/remove",
    "/v1/join-tokens/remove",
    "/v1/keys/rotate",
    "/v1/keys/withdraw",
    "/v1/leases/revoke",
    "/v1/ledger/checkpoint",
    "/v1/marks/clear",
    "/v1/monitors/{name}/reset",
    "/v1/notices/{id}/acknowledge",
    "/v1/policies/activate",
    "/v1/policies/check",
    "/v1/responses",
    "/v1/revocations",
    "/v1/revocations/preview",
    "/v1/runs",
    "/v1/runs/{id}/close",
    "/v1/runs/{id}/delegate",
    "/v1/runs/{id}/say",
    "/v1/ssf/receivers/expect",
    "/v1/svids",
    "/v1/tokens",
    "/v1/tools/pin",
    "/v1/tools/refresh",
    "/v1/tools/unpin",
    "/v1/traits/apply",
    "/v1/workloads",
    "/v1/workloads/disable",
    "/v1/workloads/enable",
}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlane]:
    with running_plane(tmp_path_factory.mktemp("plane")) as running:
        yield running


def over_tcp(
    plane: RunningPlane, method: str, path: str, *, token: str = "", body: Any = None
) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", plane.api_port, timeout=30)
    headers = {"authorization": f"Bearer {token}"} if token else {}
    raw = None
    if method == "POST":
        raw, headers["content-type"] = json.dumps(body or {}), "application/json"
    try:
        connection.request(method, _filled(path), raw, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def _filled(path: str) -> str:
    return re.sub(r"\{[a-z]+\}", "x", path)


def operations(plane: RunningPlane) -> list[tuple[str, str]]:
    document = plane.client.get("/v1/openapi.json")
    return [(method.upper(), path) for path, verbs in document["paths"].items() for method in verbs]


def test_without_a_token_no_operation_answers(plane: RunningPlane) -> None:
    found = operations(plane)
    assert len(found) > 50
    for method, path in found:
        for token in ("", "mfop_made-up"):
            status, body = over_tcp(plane, method, path, token=token)
            assert (status, json.loads(body)["code"]) == (401, "unauthenticated"), path
            assert "Traceback" not in body


def test_every_operation_that_changes_something_is_on_one_of_the_lists(plane: RunningPlane) -> None:
    changing = {path for method, path in operations(plane) if method != "GET"}
    only = {path for _, path in SOCKET_ONLY}
    assert not only & BY_TOKEN
    assert changing == only | BY_TOKEN


def test_a_token_is_stopped_by_nothing_but_the_list_at_what_it_may_do(plane: RunningPlane) -> None:
    token = plane.client.post("/v1/operator/tokens")["token"]
    for path in sorted(BY_TOKEN):
        # Nothing that fits is sent, so that nothing is done; what is looked at is who may.
        status, body = over_tcp(plane, "POST", path, token=token, body={"unknown": 1})
        assert status == 400, (path, body)


@pytest.mark.parametrize(("method", "path"), sorted(SOCKET_ONLY))
def test_a_token_does_nothing_that_outlives_it(plane: RunningPlane, method: str, path: str) -> None:
    token = plane.client.post("/v1/operator/tokens")["token"]
    assert over_tcp(plane, "GET", "/v1/operator", token=token)[0] == 200
    status, body = over_tcp(plane, method, path, token=token, body=SOCKET_ONLY[method, path])
    assert status == 403, body
    assert "control socket only" in json.loads(body)["message"]
    assert plane.client.get("/v1/credentials") == []


def test_it_is_on_record_that_somebody_tried(tmp_path: Path) -> None:
    with running_plane(tmp_path) as plane:
        token = plane.client.post("/v1/operator/tokens")["token"]
        over_tcp(plane, "POST", "/v1/login-codes", token=token)
        refused = [r for r in plane.records("observed") if r["what"] == "operator.refused"]
        assert [r["subject"] for r in refused] == ["127.0.0.1"]
        assert "control socket only" in refused[0]["details"]["why"]
