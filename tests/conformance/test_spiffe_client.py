"""The Workload API as the independent `spiffe` client sees it, in a process of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from counterpart_kit import in_child
from spiffe_kit import TRIAGE, ServedApi, served

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
