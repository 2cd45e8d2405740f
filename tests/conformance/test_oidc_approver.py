"""People of an OpenID provider that others wrote (npm `oidc-provider`) answer on the page."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2
import pytest
from approver_kit import OPERATOR, Approving, Browser, Form, approving
from counterpart_kit import free_port

from conformance.official_suite import HERE, NODE
from midflight.domain.records import ApprovalAnswered

pytestmark = [pytest.mark.anyio, pytest.mark.conformance, pytest.mark.oidc_provider]

SECRET = "a secret that only this test has, and long enough"


@contextlib.asynccontextmanager
async def served_with(
    folder: Path, monkeypatch: pytest.MonkeyPatch, **login: object
) -> AsyncIterator[tuple[Approving, str]]:
    monkeypatch.setenv("LOGIN_SECRET", SECRET)
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        str(NODE),
        str(HERE / "oidc_login_provider.mjs"),
        f"http://localhost:{port}/approve/callback",
        SECRET,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={"PATH": str(NODE.parent)},
    )
    assert process.stdout is not None
    try:
        issuer = (await process.stdout.readline()).decode().strip()
        settings = {"issuer": issuer, "client_id": "midflight", "client_secret": "env:LOGIN_SECRET"}
        async with approving(
            folder,
            port=port,
            oauth={"login": settings},
            approvals={"login": {"people": {"sub-ada": "ada"}, **login}},
        ) as served:
            yield served, issuer
    finally:
        process.kill()
        await process.wait()


async def log_in(browser: Browser, person: str, *, back: str = "/approve") -> httpx2.Response:
    """What a person's browser does, from the door of the page until it is back there."""
    door = await browser.get(back)
    form = Form(door.text).to("/approve/login")
    away = await browser.post(form["action"], **form["fields"])
    where = away.headers["location"]
    assert parse_qs(urlsplit(where).query)["max_age"] == ["300"]
    for _ in range(20):
        answer = await browser.http.get(where)
        if answer.status_code == 200:
            action = re.search(r'action="([^"]+)"', answer.text)
            prompt = re.search(r'name="prompt" value="([^"]+)"', answer.text)
            assert action is not None, answer.text
            assert prompt is not None, answer.text
            told = {"prompt": prompt[1], "login": person, "password": "any"}
            answer = await browser.http.post(urljoin(where, action[1]), data=told)
        assert answer.is_redirect, answer.text[:500]
        where = urljoin(where, answer.headers["location"])
        if urlsplit(where).path == "/approve/callback":
            return await browser.get(where)
    raise AssertionError(where)


async def test_a_person_of_the_provider_answers_as_the_approver_that_he_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served_with(tmp_path, monkeypatch) as (served, issuer):
        await served.accounts.add("ada", OPERATOR, groups=["team-one"])
        browser, approval = served.browser(), await served.ask()
        back = await log_in(browser, "sub-ada", back=f"/approve/{approval}")
        assert (back.status_code, back.headers["location"]) == (303, f"/approve/{approval}")
        done = await browser.answer(approval)
        assert done.status_code == 303, done.text
        (record,) = await served.records(ApprovalAnswered)
        assert (record.author, record.proof) == ("ada", f"oidc:{issuer}")
        assert record.stands_for == ("owner",)


async def test_an_answer_later_needs_another_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served_with(tmp_path, monkeypatch) as (served, issuer):
        await served.accounts.add("ada", OPERATOR, groups=["team-one"])
        browser, approval = served.browser(), await served.ask()
        await log_in(browser, "sub-ada")
        page = await browser.get(f"/approve/{approval}")
        fields = Form(page.text).to(f"/approve/{approval}")["fields"]
        served.clock.leap(310)
        late = await browser.post(f"/approve/{approval}", **fields, decision="yes")
        assert late.status_code == 401
        assert "Log in again" in late.text
        # Browsers hold the redirect after a form against it, too.
        assert f"form-action 'self' {issuer};" in late.headers["content-security-policy"]
        assert Form(late.text).to("/approve/login")["fields"]["back"] == f"/approve/{approval}"
        assert (await served.desk.show(approval)).state.value == "pending"


async def test_somebody_else_of_the_provider_answers_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Called like the owner, and like the account: a provider's names are its own.
    async with served_with(tmp_path, monkeypatch) as (served, _):
        await served.accounts.add("ada", OPERATOR, groups=["team-one"])
        for name in ("team-one", "ada"):
            browser = served.browser()
            back = await log_in(browser, name)
            assert back.status_code == 403
            assert "You answer for nothing here." in back.text
            assert (await browser.get("/approve")).status_code == 401


async def test_the_way_back_counts_in_the_browser_that_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served_with(tmp_path, monkeypatch) as (served, _):
        await served.accounts.add("ada", OPERATOR, groups=["team-one"])
        other = served.browser()
        for query in ("code=x&state=y", "code=x&state=y&again=1", "error=access_denied&again=1"):
            answer = await other.get(f"/approve/callback?{query}")
            assert answer.status_code in {200, 401}
            assert "set-cookie" not in answer.headers
