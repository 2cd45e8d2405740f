"""OpenBao as an issuer that others wrote: its tokens become ours, as those of a CI system do."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import httpx2
import jwt as pyjwt
import pytest
from counterpart_kit import OpenBao, openbao
from identity_kit import Key
from oauth_kit import JWT, TOKEN_EXCHANGE, OAuthServer, oauth_server

from gateways import AGENT

pytestmark = [pytest.mark.anyio, pytest.mark.openbao]

ISSUER = "https://bao.example.test"


def prepare(bao: OpenBao) -> None:
    """An issuer with two users, one of them a pipeline."""
    bao.call("POST", "identity/oidc/config", {"issuer": ISSUER})
    bao.call("POST", "identity/oidc/key/ci", {"algorithm": "RS256", "allowed_client_ids": ["*"]})
    bao.call("POST", "sys/auth/userpass", {"type": "userpass"})
    policy = 'path "identity/oidc/token/*" { capabilities = ["read"] }'
    bao.call("PUT", "sys/policies/acl/ci", {"policy": policy})
    for user in ("pipeline", "other"):
        bao.call(
            "POST",
            f"auth/userpass/users/{user}",
            {"password": f"{user}-password", "token_policies": ["ci"]},
        )


def signed(bao: OpenBao, audience: str, *, user: str = "pipeline", ttl: str = "5m") -> str:
    """A token that OpenBao signs for a user, for an audience."""
    role = f"for-{user}"
    bao.call(
        "POST",
        f"identity/oidc/role/{role}",
        {
            "key": "ci",
            "client_id": audience,
            "ttl": ttl,
            "template": json.dumps(
                {"entity": "ENTITY", "ref": "main", "jti": f"job-{secrets.token_hex(8)}"}
            ).replace('"ENTITY"', "{{identity.entity.id}}"),
        },
    )
    login = bao.call(
        "POST", f"auth/userpass/login/{user}", {"password": f"{user}-password"}, token=""
    )
    given = login["auth"]["client_token"]
    return str(bao.call("GET", f"identity/oidc/token/{role}", token=given)["data"]["token"])


def entity(bao: OpenBao, user: str) -> str:
    """The immutable id that OpenBao has for a user."""
    token = pyjwt.decode(signed(bao, "x", user=user), options={"verify_signature": False})
    return str(token["entity"])


async def exchanged(server: OAuthServer, token: str) -> httpx2.Response:
    return await server.token(
        key=Key(),
        **server.authenticated(
            grant_type=TOKEN_EXCHANGE, subject_token=token, subject_token_type=JWT
        ),
    )


async def test_a_token_of_an_issuer_we_did_not_write_becomes_one_of_ours(tmp_path: Path) -> None:
    with openbao(tmp_path / "bao") as bao:
        prepare(bao)
        claims = {"entity": entity(bao, "pipeline"), "ref": "main"}
        # A key is published from when a role uses it.
        keys = bao.call("GET", "identity/oidc/.well-known/keys")
        (tmp_path / "keys.json").write_text(json.dumps(keys))
        issuer = {
            "name": "bao", "kind": "oidc", "issuer": f"{ISSUER}/v1/identity/oidc",
            "jwks_file": tmp_path / "keys.json",
            "rules": ({"workload": AGENT, "write": True, "claims": claims},),
        }  # fmt: skip
        async with oauth_server(tmp_path, ci={"issuer": (issuer,)}) as server:
            token = signed(bao, server.issuer)
            answer = await exchanged(server, token)
            assert answer.status_code == 200, answer.text
            ours = pyjwt.decode(answer.json()["access_token"], options={"verify_signature": False})
            assert ours["sub"] == AGENT
            assert ours["txn"].startswith("run_")
            assert "cnf" in ours
            # Once, for us, and for nobody else.
            for refused in (
                token,
                signed(bao, "https://other.example.test"),
                signed(bao, server.issuer, user="other"),
                signed(bao, server.issuer)[:-8] + "AAAAAAAA",
            ):
                answer = await exchanged(server, refused)
                assert answer.status_code in {400, 401}, answer.text
                assert "access_token" not in answer.text
