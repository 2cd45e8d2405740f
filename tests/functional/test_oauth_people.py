"""A person lets a client in: the pages, the code, the tokens, and what is told and recorded."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import jwt as pyjwt
import pytest
from identity_kit import Key
from oauth_kit import BACK, EDITOR, PUBLIC, Attempt, code_of, oauth_server

from gateways import OPERATOR
from midflight.domain.records import RunOpened

pytestmark = pytest.mark.anyio


async def test_a_person_lets_a_client_in_and_it_acts_in_his_run(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        attempt = Attempt(server, scope="mcp:git")
        code = await code_of(server, attempt, intent="Tidy up the branches.")
        answer = await server.token(**attempt.form(code))
        assert answer.status_code == 200, answer.text
        assert answer.headers["cache-control"] == "no-store"
        told = answer.json()
        assert (told["token_type"], told["scope"]) == ("Bearer", "mcp:git")
        assert "refresh_token" not in told  # it could not be bound to a key
        claims = pyjwt.decode(told["access_token"], options={"verify_signature": False})
        assert (claims["sub"], claims["client_id"]) == (EDITOR, PUBLIC)
        run = await server.plane.runs.show(claims["txn"])
        assert run.intent == "Tidy up the branches."
        await server.plane.ledger.flush()
        tail = await server.plane.ledger.tail(1_000)
        opened = [f.record for f in tail if isinstance(f.record, RunOpened)]
        assert [(r.author, r.proof) for r in opened] == [(OPERATOR.name, "oauth:development-login")]


async def test_refresh_tokens_are_for_clients_with_a_key_and_rotate(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        key, attempt = Key(), Attempt(server)
        code = await code_of(server, attempt)
        first = (await server.token(key=key, **attempt.form(code))).json()
        assert first["token_type"] == "DPoP"
        form = {"grant_type": "refresh_token", "client_id": PUBLIC}
        second = await server.token(
            key=key, **form, refresh_token=first["refresh_token"], scope="mcp:git"
        )
        assert second.status_code == 200, second.text
        assert second.json()["scope"] == "mcp:git"
        assert second.json()["refresh_token"] != first["refresh_token"]


async def test_a_person_who_refuses_is_the_last_word(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        page = await server.log_in(Attempt(server).query)
        back = await server.answer(page, decision="deny")
        told = parse_qs(urlsplit(back.headers["location"]).query)
        assert told["error"] == ["access_denied"]
        assert told["state"] == ["s-1"]
        assert "code" not in told
        assert await server.plane.runs.list_runs() == []


async def test_only_the_owner_lets_a_client_in_under_the_standard_policies(
    tmp_path: Path,
) -> None:
    standard = Path(__file__).parents[2] / "src/midflight/policies/standard/50-runs.cedar"
    policy = standard.read_text(encoding="utf-8")
    async with oauth_server(tmp_path, policy=policy) as server:
        assert await code_of(server, Attempt(server))
        editor = await server.plane.inventory.get(EDITOR)
        await server.plane.inventory.register(
            type(editor)(
                id=EDITOR, owner="somebody-else", escalation="x", review_by=editor.review_by
            ),
            OPERATOR,
        )
        page = await server.http.get(f"{server.url}/oauth/authorize", params=Attempt(server).query)
        back = await server.answer(page)
        told = parse_qs(urlsplit(back.headers["location"]).query)
        assert told["error"] == ["access_denied"], back.headers["location"]


async def test_pages_load_nothing_and_cannot_be_framed(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        login = await server.http.get(f"{server.url}/oauth/authorize", params=Attempt(server).query)
        consent = await server.log_in(Attempt(server).query)
        for page in (login, consent):
            policy = page.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "base-uri 'none'" in policy
            assert page.headers["x-frame-options"] == "DENY"
            assert page.headers["cache-control"] == "no-store"
            assert "<script" not in page.text
            assert "http" not in page.text.replace("http-equiv", "").replace(BACK[:-9], "")
        assert (
            "form-action 'self' http://127.0.0.1:51234"
            in consent.headers["content-security-policy"]
        )
        assert "127.0.0.1:51234" in consent.text
        assert EDITOR in consent.text
