"""Tokens of CI jobs at the real `/oauth/token` and `/oauth/revoke`: the run ends with them."""

from __future__ import annotations

import json
import secrets
import time
from pathlib import Path

import pytest
from identity_kit import Key, by_hand
from oauth_kit import JWT, TOKEN_EXCHANGE, OAuthServer, oauth_server
from outside_kit import RsaKey, header_of, jwks_of

from gateways import AGENT
from midflight.domain.run import RunState

pytestmark = pytest.mark.anyio

GITLAB = "https://gitlab.example.test"
KEY = RsaKey()
CLAIMS = {"project_id": "22", "namespace_id": "7", "ref_protected": "true", "ref": "main"}


def job_token(server: OAuthServer) -> str:
    now = int(time.time())
    claims = {
        "iss": GITLAB,
        "aud": server.issuer,
        "iat": now - 1,
        "exp": now + 300,
        "jti": secrets.token_hex(8),
        "sub": "project_path:acme/app:ref_type:branch:ref:main",
        "pipeline_source": "push",
        "job_id": "900",
        **CLAIMS,
    }
    return by_hand(header_of(KEY), claims, KEY)


async def test_a_jobs_run_ends_with_the_revocation_of_its_token(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text(json.dumps(jwks_of(KEY)))
    rule = {"workload": AGENT, "write": True, "claims": CLAIMS}
    issuer = {
        "name": "gitlab", "kind": "gitlab", "issuer": GITLAB,
        "jwks_file": tmp_path / "keys.json", "rules": (rule,),
    }  # fmt: skip
    async with oauth_server(tmp_path, ci={"issuer": (issuer,)}) as server:
        key = Key()
        answer = await server.token(
            key=key,
            **server.authenticated(
                grant_type=TOKEN_EXCHANGE, subject_token=job_token(server), subject_token_type=JWT
            ),
        )
        assert answer.status_code == 200, answer.text
        token = answer.json()["access_token"]
        store = server.plane.parts.store
        [opened] = await store.list_runs(workload=AGENT)
        assert opened.state is RunState.OPEN
        gone = await server.post("/oauth/revoke", server.authenticated(token=token))
        assert gone.status_code == 200, gone.text
        ended = await store.get_run(opened.run.id)
        assert ended is not None
        assert ended.state is RunState.CLOSED
        assert (await server.tools(token, key)).status_code == 401


async def test_a_run_that_is_no_jobs_outlives_the_revocation_of_a_token(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        key = Key()
        form = server.authenticated(
            grant_type=TOKEN_EXCHANGE, subject_token=server.svid(), subject_token_type=JWT
        )
        answer = await server.token(key=key, **form)
        assert answer.status_code == 200, answer.text
        token = answer.json()["access_token"]
        [opened] = await server.plane.parts.store.list_runs(workload=AGENT)
        gone = await server.post("/oauth/revoke", server.authenticated(token=token))
        assert gone.status_code == 200, gone.text
        kept = await server.plane.parts.store.get_run(opened.run.id)
        assert kept is not None
        assert kept.state is RunState.OPEN
