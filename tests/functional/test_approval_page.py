"""People answer on the page of a real gateway: with codes, with passkeys, at once and later."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from approver_kit import (
    OPERATOR,
    Form,
    approving,
    device,
    show_passkey,
    shown,
    with_passkey,
)

from midflight.domain.approval import binding_code
from midflight.domain.records import ApprovalAnswered, Changed
from midflight.services.guard import Performed

pytestmark = pytest.mark.anyio


async def test_a_person_with_codes_is_asked_answers_and_the_action_passes_once(
    tmp_path: Path,
) -> None:
    async with approving(tmp_path) as served:
        ada = await served.person("ada", "team-one")
        run = await served.run()
        approval = await served.ask(run, to="bob@x.org")
        listed = await ada.browser.get("/approve")
        assert f'href="/approve/{approval}"' in listed.text
        page = await ada.browser.get(f"/approve/{approval}")
        stored = await served.desk.show(approval)
        text = shown(page.text)
        for word in (
            stored.digest,
            binding_code(approval, stored.digest),
            '"bob@x.org"',
            "call_tool",
            "desk/send",
            "owner (team-one)",
            "A person looks first.",
            "Exactly this passes once",
            "10 min" if "10 min" in text else "9 min",
        ):
            assert word in text, word
        done = await ada.browser.answer(approval, reason="He knows  Bob.")
        assert (done.status_code, done.headers["location"]) == (303, f"/approve/{approval}")
        assert "approved" in shown((await ada.browser.get(f"/approve/{approval}")).text)
        assert isinstance(await served.act(run, to="bob@x.org"), Performed)
        assert served.sent == [{"to": "bob@x.org"}]
        (record,) = await served.records(ApprovalAnswered)
        assert (record.author, record.proof, record.yes) == ("ada", "totp:ada", True)
        assert (record.stands_for, record.digest) == (("owner",), stored.digest)
        assert record.reason == "He knows Bob."
        assert await served.ask(run, to="bob@x.org") != approval


async def test_a_no_stands_and_is_seen(tmp_path: Path) -> None:
    async with approving(tmp_path) as served:
        ada = await served.person("ada", "team-one")
        approval = await served.ask()
        await ada.browser.answer(approval, "no")
        text = shown((await ada.browser.get(f"/approve/{approval}")).text)
        assert "refused" in text
        assert "No, by ada (totp:ada)" in text
        assert "Nothing waits for you." in (await ada.browser.get("/approve")).text


async def test_a_passkey_signs_in_and_answers(tmp_path: Path) -> None:
    async with approving(tmp_path, approvers="payments-oncall") as served:
        with device(served.url) as one:
            browser = await with_passkey(served, "ada", one, "payments-oncall")
            approval = await served.ask()
            signed = await show_passkey(browser, one, back=f"/approve/{approval}")
            assert signed.headers["location"] == f"/approve/{approval}"
            done = await browser.answer(approval)
            assert done.status_code == 303, done.text
            (record,) = await served.records(ApprovalAnswered)
            (passkey,) = await served.plane.parts.store.list_passkeys("ada")
            assert (record.author, record.proof) == ("ada", f"passkey:{passkey.id[:12]}")
            assert record.stands_for == ("payments-oncall",)
            assert passkey.count == 1


async def test_an_answer_later_is_proved_again_with_a_passkey_made_for_it(tmp_path: Path) -> None:
    async with approving(tmp_path) as served:
        with device(served.url) as one:
            browser = await with_passkey(served, "ada", one, "team-one")
            approval = await served.ask()
            await show_passkey(browser, one)
            before = browser.cookie
            served.clock.leap(301)
            refused = await browser.answer(approval)
            assert refused.status_code == 401
            assert "Show again that it is you" in refused.text
            page = await browser.get(f"/approve/{approval}")
            form = Form(page.text).to(f"/approve/{approval}")
            fields = {**form["fields"], "decision": "yes", "response": one.ask(form)}
            done = await browser.post(form["action"], **fields)
            assert done.status_code == 303, done.text
            assert (await served.desk.show(approval)).state.value == "approved"
            # A fresh proof, a fresh cookie; for the next answers it is fresh.
            assert browser.cookie != before
            other = await served.ask(to="carol@x.org")
            assert (await browser.answer(other)).status_code == 303


async def test_an_answer_later_is_proved_again_with_a_code(tmp_path: Path) -> None:
    async with approving(tmp_path) as served:
        ada = await served.person("ada", "team-one")
        approval = await served.ask()
        served.clock.leap(301)
        assert (await ada.browser.answer(approval)).status_code == 401
        assert (await ada.browser.answer(approval, code=ada.code())).status_code == 303
        assert (await served.desk.show(approval)).state.value == "approved"


async def test_enter_in_a_field_is_no_answer(tmp_path: Path) -> None:
    """Browsers press the first button of a form then, unless it is disabled."""
    async with approving(tmp_path) as served:
        ada = await served.person("ada", "team-one")
        approval = await served.ask()
        served.clock.leap(301)
        page = await ada.browser.get(f"/approve/{approval}")
        form = page.text[page.text.index(f'action="/approve/{approval}"') :]
        assert 'name="code"' in form
        first, *others = re.findall(r"<button([^>]*)>", form)
        assert first == " disabled hidden"
        assert others == [' name="decision" value="yes"', ' name="decision" value="no"']


async def test_two_approvers_are_two_people(tmp_path: Path) -> None:
    async with approving(tmp_path, approvers="owner, security") as served:
        ada = await served.person("ada", "team-one", "security")
        bob = await served.person("bob", "security")
        approval = await served.ask()
        await ada.browser.answer(approval)
        assert "Others still have to." in (await ada.browser.get(f"/approve/{approval}")).text
        assert (await ada.browser.get("/approve")).text.count(approval) == 0
        page = await bob.browser.get(f"/approve/{approval}")
        assert "Must agree" in page.text
        assert (await served.desk.show(approval)).state.value == "pending"
        await bob.browser.answer(approval)
        assert (await served.desk.show(approval)).state.value == "approved"


async def test_where_policy_asks_for_four_eyes_the_owner_is_not_the_others(tmp_path: Path) -> None:
    async with approving(tmp_path, approvers="security, !owner") as served:
        own = await served.person("ada", "team-one", "security")
        bob = await served.person("bob", "security")
        approval = await served.ask()
        assert (await own.browser.get(f"/approve/{approval}")).status_code == 404
        page = await bob.browser.get(f"/approve/{approval}")
        assert "nobody who answers for team-one" in shown(page.text)
        await bob.browser.answer(approval)
        assert (await served.desk.show(approval)).state.value == "approved"


async def test_like_questions_stand_together(tmp_path: Path) -> None:
    async with approving(tmp_path) as served:
        ada = await served.person("ada", "team-one")
        run = await served.run()
        asked = [await served.ask(run, to=f"u{number}@x.org") for number in range(3)]
        text = (await ada.browser.get("/approve")).text
        assert all(f"/approve/{approval}" in text for approval in asked)
        assert text.count("<section>") == 1
        assert "(3)" in shown(text)


async def test_what_is_over_cannot_be_answered_and_says_so(tmp_path: Path) -> None:
    async with approving(tmp_path) as served:
        ada = await served.person("ada", "team-one")
        approval = await served.ask()
        page = await ada.browser.get(f"/approve/{approval}")
        form = Form(page.text).to(f"/approve/{approval}")
        served.clock.leap(600)
        late = await ada.browser.post(
            form["action"], **{**form["fields"], "decision": "yes", "code": ada.code()}
        )
        assert late.status_code == 409
        assert "has expired, which is a no" in shown(late.text)
        assert "expired" in shown((await ada.browser.get(f"/approve/{approval}")).text)


async def test_values_can_be_remembered_for_the_owner(tmp_path: Path) -> None:
    async with approving(tmp_path) as served:
        ada = await served.person("ada", "team-one")
        approval = await served.ask()
        odd = await ada.browser.answer(approval, remember="99")
        assert odd.status_code == 400
        assert (await ada.browser.answer(approval, remember="86400")).status_code == 303
        (kept,) = await served.plane.parts.store.list_counterparties("team-one")
        assert (kept.added_by, kept.approval) == ("ada", approval)
        assert kept.expires_at - kept.added_at == 86_400


async def test_sessions_end_by_themselves_by_the_person_and_by_an_operator(
    tmp_path: Path,
) -> None:
    async with approving(tmp_path) as served:
        ada = await served.person("ada", "team-one")
        served.clock.leap(890)
        assert "What waits for you" in (await ada.browser.get("/approve")).text
        served.clock.leap(890)
        assert "What waits for you" in (await ada.browser.get("/approve")).text
        served.clock.leap(901)
        assert (await ada.browser.get("/approve")).status_code == 401
        await ada.sign_in()
        page = await ada.browser.get("/approve")
        cookie = ada.browser.cookie
        await ada.browser.post(
            "/approve/sign-out", **Form(page.text).to("/approve/sign-out")["fields"]
        )
        again = await served.browser().get(
            "/approve", headers={"cookie": f"midflight-approver={cookie}"}
        )
        assert again.status_code == 401
        await ada.sign_in()
        for change in ({"disabled": True}, {"disabled": False}):
            await served.accounts.change("ada", OPERATOR, **change)
            assert (await ada.browser.get("/approve")).status_code == 401
        await ada.sign_in()
        await served.accounts.reset("ada", OPERATOR)
        assert (await ada.browser.get("/approve")).status_code == 401
        lost = await ada.browser.sign_in("ada", ada.next_code())
        assert lost.status_code == 401


async def test_pages_load_nothing_cannot_be_framed_and_run_one_script(tmp_path: Path) -> None:
    async with approving(tmp_path) as served:
        ada = await served.person("ada", "team-one")
        approval = await served.ask()
        served.clock.leap(301)
        pages = [
            await served.browser().get("/approve"),
            await served.browser().get("/approve/enroll"),
            await ada.browser.get("/approve"),
            await ada.browser.get(f"/approve/{approval}"),
        ]
        for page in pages:
            policy = page.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; style-src 'sha256-")
            assert f"script-src {served.url}/approve/passkey.js;" in policy
            for word in ("form-action 'self';", "base-uri 'none'", "frame-ancestors 'none'"):
                assert word in policy
            assert "unsafe" not in policy
            assert page.headers["cache-control"] == "no-store"
            assert page.headers["x-frame-options"] == "DENY"
            assert page.headers["cross-origin-opener-policy"] == "same-origin"
            assert page.text.count("<script") == 1
            assert "style=" not in page.text
            assert " on" not in page.text.split("<body>")[1].split(">")[0]
            assert page.text.count("<label") == page.text.count("<label for=")
        script = await served.browser().get("/approve/passkey.js")
        assert script.headers["content-type"].startswith("text/javascript")
        assert "http" not in script.text


async def test_it_is_not_there_where_it_is_not_wanted(tmp_path: Path) -> None:
    async with approving(tmp_path, approvals={"page": False}) as served:
        for path in ("/approve", "/approve/enroll", "/approve/passkey.js"):
            assert (await served.browser().get(path)).status_code == 404


async def test_what_was_enrolled_and_by_whom_is_on_record(tmp_path: Path) -> None:
    async with approving(tmp_path) as served:
        await served.person("ada", "team-one")
        told = [(r.what, r.author) for r in await served.records(Changed) if "approver" in r.what]
        assert told == [
            ("approver.add ada", "olivia"),
            ("approver.enroll ada", "olivia"),
            ("approver.enrolled ada", "ada"),
        ]
