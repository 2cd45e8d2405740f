"""An operator token that was stolen: what it does not open, and what strangers on TCP are told."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from control_kit import RunningPlane, running_plane

# Each of them would outlive the token: a login of an hour, a credential, a program with a run,
# whatever makes somebody a workload or its client, and whatever keeps something from being found.
SOCKET_ONLY = {
    ("POST", "/v1/login-codes"): {},
    ("POST", "/v1/credentials"): {"name": "stolen", "backend": "static", "secret": "x"},
    ("POST", "/v1/runs/{id}/launch"): {"pid": 1},
    ("POST", "/v1/operator/tokens"): {},
    ("POST", "/v1/clients"): {"id": "stolen", "workload": "spiffe://midflight.internal/a"},
    ("POST", "/v1/entries"): {"spiffe_id": "spiffe://midflight.internal/a", "selectors": ["a:b"]},
    ("POST", "/v1/join-tokens"): {"spiffe_id": "spiffe://midflight.internal/a"},
    ("POST", "/v1/canaries/remove"): {"name": "wiki"},
    ("POST", "/v1/baseline/forget"): {"workload": "spiffe://midflight.internal/a"},
    ("POST", "/v1/baseline/accept"): {"run": "run_x"},
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
        connection.request(method, path.replace("{id}", "run_x"), raw, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


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
