"""Somebody answers in another's name: by body, header, cookie, forged form, or forged group."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest
from approver_kit import OPERATOR, Approving, Browser, Form, approving, shown
from upstream_kit import certificate_for_localhost

from midflight.domain.approver import approver_name
from midflight.domain.authorization import Person as Outsider
from midflight.domain.errors import Forbidden, Malformed
from midflight.domain.records import ApprovalAnswered, Observed
from midflight.services.approver_people import OutsideApprovers

pytestmark = pytest.mark.anyio


async def form_of(browser: Browser, approval: str) -> dict[str, str]:
    page = await browser.get(f"/approve/{approval}")
    return dict(Form(page.text).to(f"/approve/{approval}")["fields"])


async def unanswered(served: Approving, approval: str) -> bool:
    state = (await served.desk.show(approval)).state.value
    return state == "pending" and not await served.records(ApprovalAnswered)


async def test_a_name_in_the_body_or_in_a_header_is_nobodys(tmp_path: Path) -> None:
    async with approving(tmp_path) as served:
        eve = await served.person("eve", "strangers")
        approval = await served.ask()
        names = {"author": "team-one", "account": "team-one", "name": "team-one", "proof": "x"}
        page = await eve.browser.get("/approve")
        csrf = Form(page.text).to("/approve/sign-out")["fields"]["csrf"]
        digest = (await served.desk.show(approval)).digest
        done = await eve.browser.http.post(
            f"/approve/{approval}",
            data={"csrf": csrf, "digest": digest, "decision": "yes", **names},
            headers={"x-forwarded-user": "team-one", "x-remote-user": "team-one"},
        )
        assert done.status_code == 403
        assert await unanswered(served, approval)
        # Nor does she learn what it is about.
        hers = await eve.browser.get(f"/approve/{approval}")
        assert hers.status_code == 404
        assert "bob@x.org" not in hers.text
        assert hers.text == (await eve.browser.get(f"/approve/{approval[:-1]}a")).text.replace(
            f"{approval[:-1]}a", approval
        )


async def test_nobody_answers_without_being_signed_in(tmp_path: Path) -> None:
    async with approving(tmp_path) as served:
        approval = await served.ask()
        digest = (await served.desk.show(approval)).digest
        for cookie in ("", "midflight-approver=", "midflight-approver=team-one"):
            done = await served.browser().http.post(
                f"/approve/{approval}",
                data={"digest": digest, "decision": "yes", "csrf": ""},
                headers={"cookie": cookie} if cookie else {},
            )
            assert done.status_code == 401
        assert await unanswered(served, approval)


async def test_a_form_of_another_session_does_not_count(tmp_path: Path) -> None:
    async with approving(tmp_path) as served:
        ada = await served.person("ada", "team-one")
        bob = await served.person("bob", "team-one")
        approval = await served.ask()
        fields = {**await form_of(bob.browser, approval), "decision": "yes"}
        stolen = await ada.browser.post(f"/approve/{approval}", **fields)
        assert stolen.status_code == 403
        for csrf in ({}, {"csrf": "x"}):
            own = {**await form_of(ada.browser, approval), "decision": "yes"}
            own.pop("csrf")
            assert (
                await ada.browser.post(f"/approve/{approval}", **own, **csrf)
            ).status_code == 403
        assert await unanswered(served, approval)
        assert any(
            "This form was not made" in str(r.details) for r in await served.records(Observed)
        )


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
    ],
)
async def test_another_site_makes_no_browser_answer(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    async with approving(tmp_path) as served:
        ada = await served.person("ada", "team-one")
        approval = await served.ask()
        fields = {**await form_of(ada.browser, approval), "decision": "yes"}
        done = await ada.browser.http.post(f"/approve/{approval}", data=fields, headers=headers)
        assert done.status_code == 403
        assert await unanswered(served, approval)


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/approve/sign-in", {"account": "eve"}),
        ("/approve/login", {"back": "/approve"}),
        ("/approve/enroll", {}),
        ("/approve/sign-out", {}),
    ],
)
@pytest.mark.parametrize("site", ["same-site", "cross-site", None])
async def test_a_page_of_another_port_signs_nobody_in(
    tmp_path: Path, path: str, fields: dict[str, str], site: str | None
) -> None:
    """On loopback it is of the same site; what the victim then says would be said by Eve."""
    async with approving(tmp_path) as served:
        eve = await served.person("eve", signed_in=False)
        invitation = (await served.accounts.enroll("eve", OPERATOR)).code
        victim = served.browser()
        headers = {"origin": "http://localhost:3000"}
        if site is not None:
            headers["sec-fetch-site"] = site
        told = {**fields, "code": eve.next_code(), "invitation": invitation}
        done = await victim.http.post(path, data=told, headers=headers)
        assert done.status_code == 403
        assert "set-cookie" not in done.headers
        assert not list(victim.http.cookies.jar)


async def test_the_digest_that_was_shown_is_the_one_that_counts(tmp_path: Path) -> None:
    async with approving(tmp_path) as served:
        ada = await served.person("ada", "team-one")
        run = await served.run()
        harmless = await served.ask(run, to="bob@x.org")
        harmful = await served.ask(run, to="eve@x.org")
        fields = {**await form_of(ada.browser, harmless), "decision": "yes"}
        moved = await ada.browser.post(f"/approve/{harmful}", **fields)
        assert moved.status_code == 409
        assert "What was shown is not what" in shown(moved.text)
        for digest in ("", "0" * 64):
            odd = await ada.browser.post(f"/approve/{harmful}", **{**fields, "digest": digest})
            assert odd.status_code in {400, 409}
        assert await unanswered(served, harmful)


async def test_a_planted_cookie_is_not_the_one_that_somebody_signs_in_by(tmp_path: Path) -> None:
    async with approving(tmp_path) as served:
        eve, ada = await served.person("eve"), await served.person("ada", "team-one")
        planted = eve.browser.cookie
        browser = served.browser()
        browser.http.cookies.set("midflight-approver", planted, domain="localhost.local")
        signed = await browser.http.post(
            "/approve/sign-in",
            data={"account": "ada", "code": ada.next_code()},
            headers={"cookie": f"midflight-approver={planted}"},
        )
        assert signed.status_code == 303
        fresh = httpx2.Cookies(signed.cookies)
        assert planted not in str(fresh)
        # What was planted stands for nobody any more.
        assert (await eve.browser.get("/approve")).status_code == 401


async def test_a_cookie_is_for_this_host_over_https_alone(
    tmp_path: Path,
) -> None:
    pem = certificate_for_localhost(tmp_path)
    pem.chmod(0o600)
    async with approving(tmp_path, tls=(pem, pem)) as served:
        ada = await served.person("ada", "team-one", signed_in=False)
        done = await ada.browser.sign_in("ada", ada.next_code())
        header = done.headers["set-cookie"]
        assert header.startswith("__Host-midflight-approver=")
        for word in ("Path=/", "HttpOnly", "SameSite=Strict", "Secure"):
            assert word in header
        assert "Domain" not in header
        # Without the prefix, as somebody beside the host could set it, it is none.
        value = header.split("=", 1)[1].split(";")[0]
        plain = await served.browser().get(
            "/approve", headers={"cookie": f"midflight-approver={value}"}
        )
        assert plain.status_code == 401


async def test_an_enrolment_enrols_and_answers_nothing(tmp_path: Path) -> None:
    async with approving(tmp_path) as served:
        await served.accounts.add("ada", OPERATOR, groups=["team-one"])
        browser, approval = served.browser(), await served.ask()
        page = await served.enrolling("ada", browser)
        fields = Form(page.text).to("/approve/enroll/code")["fields"]
        answer = await browser.post(f"/approve/{approval}", **fields, decision="yes")
        assert answer.status_code == 401
        cookie = next(c.value or "" for c in browser.http.cookies.jar if "enrolling" in c.name)
        as_session = await served.browser().get(
            "/approve", headers={"cookie": f"midflight-approver={cookie}"}
        )
        assert as_session.status_code == 401
        # Its code is good once, and an account that is disabled meanwhile gets no factor.
        invitation = await served.accounts.enroll("ada", OPERATOR)
        assert (
            await browser.post("/approve/enroll", invitation=invitation.code)
        ).status_code == 303
        again = await served.browser().post("/approve/enroll", invitation=invitation.code)
        assert again.status_code == 401
        await served.accounts.change("ada", OPERATOR, disabled=True)
        late = await browser.post("/approve/enroll/code", **{**fields, "code": "123456"})
        assert late.status_code == 403
        late_code = await served.accounts.enroll("ada", OPERATOR)
        served.clock.leap(601)
        over = await served.browser().post("/approve/enroll", invitation=late_code.code)
        assert over.status_code == 401


@pytest.mark.parametrize(
    "name",
    ["owner", "!owner", "Ada", "spiffe://x/y", "https://id#ada", "", "a" * 65, "\u0430da"],
)
def test_no_account_is_called_what_is_somebody_else(name: str) -> None:
    with pytest.raises(Malformed):
        approver_name(name)


async def test_what_a_provider_says_of_groups_counts_by_the_settings_alone(
    tmp_path: Path,
) -> None:
    async with approving(tmp_path) as served:
        await served.accounts.add("ada", OPERATOR, groups=["team-one"])
        sessions = served.plane.approvers.sessions
        outside = OutsideApprovers(
            store=served.plane.parts.store,
            sessions=sessions,
            clock=served.clock,
            people={"sub-1": "ada"},
            groups={"oncall@idp": "payments-oncall"},
        )
        now = int(served.clock.now())

        def person(name: str, *groups: str) -> Outsider:
            return Outsider(name=name, proof="oidc:https://id.example", groups=groups, at=now)

        # Nobody by the name of an owner, an account or a group, and nobody by our name of a group.
        for stranger in (
            person("team-one"),
            person("ada"),
            person("x", "team-one", "owner"),
            person("x", "payments-oncall"),
        ):
            with pytest.raises(Forbidden):
                await outside.sign_in(stranger)
        mapped = await sessions.of(await outside.sign_in(person("x", "oncall@idp", "owner")))
        assert mapped is not None
        assert (mapped.name, mapped.groups) == ("https://id.example#x", ("payments-oncall",))
        approval = await served.ask()
        assert not await served.desk.waiting(mapped.author, member_of=mapped.groups)
        with pytest.raises(Forbidden):
            await served.desk.approve(approval, author=mapped.author, member_of=mapped.groups)
        known = await sessions.of(await outside.sign_in(person("sub-1")))
        assert known is not None
        assert (known.name, known.groups) == ("ada", ("team-one",))
        await served.accounts.change("ada", OPERATOR, disabled=True)
        assert await sessions.of(await outside.sign_in(person("x", "oncall@idp"))) is not None
        with pytest.raises(Forbidden):
            await outside.sign_in(person("sub-1", "oncall@idp"))


async def test_one_person_by_two_ways_is_one_person(tmp_path: Path) -> None:
    async with approving(tmp_path, approvers="owner, security") as served:
        ada = await served.person("ada", "team-one", "security")
        approval = await served.ask()
        await ada.browser.answer(approval)
        other = await served.person("bob", "team-one", "security", browser=served.browser())
        again = await ada.browser.get(f"/approve/{approval}")
        csrf = Form(again.text).to("/approve/sign-out")["fields"]["csrf"]
        digest = (await served.desk.show(approval)).digest
        twice = await ada.browser.post(
            f"/approve/{approval}", csrf=csrf, digest=digest, decision="yes"
        )
        assert twice.status_code == 409
        assert (await served.desk.show(approval)).state.value == "pending"
        await other.browser.answer(approval)
        assert (await served.desk.show(approval)).state.value == "approved"
