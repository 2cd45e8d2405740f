"""Identity assertions (ID-JAG) through the endpoint: whose token it is, and what is recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jwt as pyjwt
import pytest
from draft_kit import (
    CLIENT,
    JWT_BEARER,
    PERSON,
    PROFILE,
    PROVIDER,
    Drafts,
    drafts,
    error_of,
    provider_table,
    unverified_claims,
)
from identity_kit import Key
from oauth_kit import oauth_server

from gateways import AGENT
from midflight.apps.settings import Settings
from midflight.domain.errors import Misconfigured
from midflight.domain.records import RunOpened

pytestmark = pytest.mark.anyio

METADATA = "/.well-known/oauth-authorization-server"


async def test_a_person_of_the_provider_gets_a_run_for_the_client(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        key, assertion = Key(), made.id_jag()
        answer = await made.present(assertion, key=key)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert told.keys() == {"access_token", "token_type", "expires_in", "scope", "resource"}
        assert told["resource"] == made.server.resource
        assert (told["token_type"], told["scope"]) == ("DPoP", "effect:read mcp:git")
        keys = (await made.server.http.get(f"{made.server.url}/.well-known/jwks.json")).json()
        token = told["access_token"]
        kid = pyjwt.get_unverified_header(token)["kid"]
        (jwk,) = [one for one in keys["keys"] if one["kid"] == kid]
        claims = pyjwt.decode(
            token,
            pyjwt.PyJWK(jwk),
            algorithms=["ES256"],
            audience=made.server.resource,
            issuer=made.server.issuer,
        )
        assert (claims["sub"], claims["client_id"]) == (AGENT, CLIENT)
        assert claims["cnf"] == {"jkt": key.jkt}
        assert (await made.server.tools(token, key)).status_code == 200
        run = await made.server.plane.runs.show(claims["txn"])
        assert run.intent is None
        (record,) = await made.issued("id-jag")
        assert (record.id, record.run) == (claims["jti"], claims["txn"])
        assert record.proof == f"oauth:id-jag:{PROVIDER}"
        assert record.details["by"] == f"{PROVIDER}#{PERSON}"
        assert record.details["issuer"] == PROVIDER
        assert record.details["assertion"] == unverified_claims(assertion)["jti"]
        tail = await made.server.plane.ledger.tail(1_000)
        (opened,) = [f.record for f in tail if isinstance(f.record, RunOpened)]
        assert PERSON in str(opened)
        assert assertion.split(".")[1] not in str([f.record for f in tail])


async def test_less_may_be_asked_for_than_the_assertion_says(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        answer = await made.present(made.id_jag(), key=Key(), scope="mcp:git/git_log effect:read")
        assert answer.json()["scope"] == "effect:read mcp:git/git_log"
        without = await made.present(made.id_jag(scope=..., resource=...), key=Key())
        assert without.json()["scope"] == "mcp"
        assert "resource" not in without.json()
        listed = made.id_jag(resource=[made.server.resource, "https://other.example/mcp"])
        claims = unverified_claims((await made.present(listed, key=Key())).json()["access_token"])
        assert claims["aud"] == made.server.resource
        alone = await made.present(made.id_jag(aud=[made.server.issuer]), key=Key())
        assert alone.status_code == 200


async def test_an_assertion_that_is_bound_is_used_with_its_key(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        key = Key()
        bound = made.id_jag(cnf={"jkt": key.jkt})
        assert error_of(await made.present(bound, key=Key())) == (400, "invalid_grant")
        assert (await made.present(bound, key=key)).status_code == 200


async def test_a_tenant_is_the_one_of_the_settings(tmp_path: Path) -> None:
    async with drafts(tmp_path, tenant="acme") as made:
        for claims in ({}, {"tenant": "other"}, {"tenant": None}, {"tenant": ["acme"]}):
            answer = await made.present(made.id_jag(**claims), key=Key())
            assert error_of(answer) == (400, "invalid_grant"), claims
        answer = await made.present(made.id_jag(tenant="acme"), key=Key())
        assert answer.status_code == 200
        (record,) = await made.issued("id-jag")
        assert record.details["tenant"] == "acme"


@pytest.mark.parametrize("login_here", [False, True])
async def test_policy_decides_whether_the_person_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, login_here: bool
) -> None:
    """The owner of a workload may open its runs: he of the provider that people log in at.

    Whoever has the owner's name at another issuer is somebody else.
    """
    standard = Path(__file__).parents[2] / "src/midflight/policies/standard/50-runs.cedar"
    monkeypatch.setenv("LOGIN_SECRET", "x" * 32)
    provider = Key()
    oauth: dict[str, Any] = {
        "experimental": True,
        "id_jag_issuer": provider_table(tmp_path, provider),
        "login": {
            "issuer": PROVIDER if login_here else "https://elsewhere.example.test",
            "client_id": "midflight",
            "client_secret": "env:LOGIN_SECRET",
        },
    }
    policy = standard.read_text(encoding="utf-8")
    async with oauth_server(tmp_path, oauth=oauth, policy=policy) as server:
        made = Drafts(server, provider)
        await made.prepare()
        stranger = await made.present(made.id_jag(), key=Key())
        assert error_of(stranger) == (400, "unauthorized_client")
        owner = await made.present(made.id_jag(sub="team-one"), key=Key())
        if login_here:
            assert owner.status_code == 200, owner.text
            return
        assert error_of(owner) == (400, "unauthorized_client")
        assert await server.plane.runs.list_runs() == []


async def test_the_metadata_says_so_and_names_no_issuer(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        answer = await made.server.http.get(made.server.url + METADATA)
        assert answer.json()["authorization_grant_profiles_supported"] == [PROFILE]
        assert JWT_BEARER in answer.json()["grant_types_supported"]
        assert PROVIDER not in answer.text


async def test_without_the_experiment_or_without_an_issuer_there_is_no_such_grant(
    tmp_path: Path,
) -> None:
    for name, oauth in (("off", {}), ("none", {"experimental": True})):
        folder = tmp_path / name
        folder.mkdir()
        async with oauth_server(folder, oauth=oauth) as server:
            made = Drafts(server, Key())
            await made.prepare()
            answer = await made.present(made.id_jag(), key=Key())
            assert error_of(answer) == (400, "unsupported_grant_type")
            metadata = (await server.http.get(server.url + METADATA)).json()
            assert JWT_BEARER not in metadata["grant_types_supported"]
            assert "authorization_grant_profiles_supported" not in metadata


def test_settings_that_would_let_in_whom_nobody_meant(tmp_path: Path) -> None:
    (row,) = provider_table(tmp_path, Key())
    wrong: tuple[dict[str, object], ...] = (
        {"id_jag_issuer": (row,)},
        {"experimental": True, "id_jag_issuer": (row, row)},
        {"experimental": True, "id_jag_issuer": ({**row, "algorithms": ()},)},
        {"experimental": True, "id_jag_issuer": ({**row, "algorithms": ("HS256",)},)},
        {"experimental": True, "id_jag_issuer": ({**row, "issuer": "http://login.example.test"},)},
        {"experimental": True, "id_jag_issuer": ({**row, "jwks_uri": "https://a.example/k"},)},
        {"experimental": True, "id_jag_issuer": ({**row, "anybody": True},)},
    )
    for oauth in wrong:
        with pytest.raises(ValueError, match="oauth"):
            Settings(oauth=oauth)  # type: ignore[arg-type] -- as from a file


async def test_this_server_takes_no_assertion_of_its_own(tmp_path: Path) -> None:
    table = provider_table(tmp_path, Key(), issuer="https://plane.example.test")
    with pytest.raises(Misconfigured):
        async with oauth_server(
            tmp_path,
            oauth={"experimental": True, "id_jag_issuer": table},
            identity={"issuer": "https://plane.example.test"},
        ):
            pass
