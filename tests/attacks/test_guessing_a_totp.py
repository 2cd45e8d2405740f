"""Codes are guessed, replayed, raced, or tried under names that do not exist."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest
from approver_kit import Form, approving

from midflight.services.attempts import ALL_AT_ONCE, FREE, LONGEST_S, Attempts, TooManyAttempts
from midflight.testing import FakeClock

pytestmark = pytest.mark.anyio


def another(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06d}"


async def test_a_code_is_good_once_though_its_time_is_not_over(tmp_path: Path) -> None:
    async with approving(tmp_path) as served:
        ada = await served.person("ada", "team-one", signed_in=False)
        code = ada.next_code()
        tried = [served.browser().sign_in("ada", code) for _ in range(4)]
        answers = [answer.status_code for answer in await asyncio.gather(*tried)]
        assert sorted(answers) == [303, 401, 401, 401]
        # Nor is the one before it, which nobody has used.
        assert (await served.browser().sign_in("ada", ada.code(offset=-1))).status_code == 401


async def test_the_code_that_enrolled_does_not_sign_in(tmp_path: Path) -> None:
    async with approving(tmp_path) as served:
        ada = await served.person("ada", "team-one", signed_in=False)
        assert (await served.browser().sign_in("ada", ada.code())).status_code == 401


async def test_a_code_of_another_time_is_none(tmp_path: Path) -> None:
    async with approving(tmp_path) as served:
        ada = await served.person("ada", "team-one", signed_in=False)
        served.clock.leap(300)
        for offset in (-10, -2, 2, 10):
            code = ada.code(offset=offset)
            assert (await served.browser().sign_in("ada", code)).status_code == 401


async def test_guesses_become_slow_and_the_right_code_works_again(tmp_path: Path) -> None:
    async with approving(tmp_path) as served:
        ada = await served.person("ada", "team-one", signed_in=False)
        answers = [
            (await served.browser().sign_in("ada", another(ada.code()))).status_code
            for _ in range(FREE + 2)
        ]
        assert answers == [401] * FREE + [429] * 2
        # Even the right one is not looked at now, so that nobody learns which it is.
        served.clock.leap(29)
        assert (await served.browser().sign_in("ada", ada.code())).status_code == 429
        served.clock.leap(31)
        assert (await served.browser().sign_in("ada", ada.code())).status_code == 303


async def test_strangers_who_guess_do_not_keep_her_from_answering(tmp_path: Path) -> None:
    async with approving(tmp_path) as served:
        ada = await served.person("ada", "team-one")
        approval = await served.ask()
        served.clock.leap(301)
        for _ in range(FREE + 1):
            await served.browser().sign_in("ada", another(ada.code()))
        assert (await served.browser().sign_in("ada", ada.code())).status_code == 429
        assert (await ada.browser.answer(approval, code=ada.code())).status_code == 303


async def test_strangers_who_guess_do_not_lock_her_out_where_she_signs_in(
    tmp_path: Path,
) -> None:
    async with approving(tmp_path) as served:
        ada = await served.person("ada", "team-one")
        await served.person("bob", browser=served.browser())
        served.clock.leap(LONGEST_S)
        for _ in range(FREE + 1):
            await served.browser().sign_in("ada", another(ada.code()))
        # All the room of all strangers is used up, too.
        with contextlib.suppress(TooManyAttempts):
            for number in range(ALL_AT_ONCE * 2):
                served.plane.approvers.factors._attempts.begin(f"account:{number}", stranger=True)
        assert (await served.browser().sign_in("ada", ada.code())).status_code == 429
        assert (await ada.browser.sign_in("ada", ada.next_code())).status_code == 303
        # What her browser keeps is worth nothing to another account, and is guessed with slowly.
        kept = next(c.value or "" for c in ada.browser.http.cookies.jar if "known" in c.name)
        eve = served.browser()
        eve.http.cookies.set("midflight-known", kept)
        assert (await eve.sign_in("ada", another(ada.code()))).status_code == 401
        for _ in range(FREE):
            await eve.sign_in("ada", another(ada.code()))
        assert (await eve.sign_in("ada", ada.code())).status_code == 429
        for name, value in (("bob", kept), ("ada", "x"), ("ada", "A" * 75)):
            thief = served.browser()
            thief.http.cookies.set("midflight-known", value)
            for _ in range(FREE + 1):
                last = await thief.sign_in(name, another(ada.code()))
            assert last.status_code == 429


async def test_guessing_with_an_answer_is_bounded_too(tmp_path: Path) -> None:
    async with approving(tmp_path) as served:
        ada = await served.person("ada", "team-one")
        approval = await served.ask()
        served.clock.leap(301)
        answers = [
            (await ada.browser.answer(approval, code=another(ada.code()))).status_code
            for _ in range(FREE + 1)
        ]
        assert answers == [401] * FREE + [429]
        assert (await served.desk.show(approval)).state.value == "pending"


async def test_a_name_that_is_none_looks_like_one_that_is(tmp_path: Path) -> None:
    async with approving(tmp_path) as served:
        ada = await served.person("ada", "team-one", signed_in=False)
        known = await served.browser().sign_in("ada", another(ada.code()))
        unknown = await served.browser().sign_in("nobody", "123456")
        assert (known.status_code, unknown.status_code) == (401, 401)
        alert = known.text.split('role="alert">')[1].split("<")[0]
        assert alert == unknown.text.split('role="alert">')[1].split("<")[0]
        for odd in ("", "x" * 1_000, "'; drop table approvers", "٣٣٣٣٣٣", "1234567", "-12345"):
            assert (await served.browser().sign_in("ada", odd or "0")).status_code in {401, 429}


async def test_a_code_of_one_account_is_none_of_another(tmp_path: Path) -> None:
    async with approving(tmp_path) as served:
        ada = await served.person("ada", "team-one", signed_in=False)
        await served.person("bob", signed_in=False)
        assert (await served.browser().sign_in("bob", ada.next_code())).status_code == 401


async def test_who_reads_the_store_reads_no_secret(tmp_path: Path) -> None:
    async with approving(tmp_path) as served:
        ada = await served.person("ada", "team-one")
        secret = ada._totp.secret
        files = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
        assert files
        assert not [path for path in files if secret.encode() in path.read_bytes()]
        # A box that is moved to another account does not open there.
        await served.person("eve", browser=served.browser())
        with sqlite3.connect(tmp_path / "state" / "midflight.sqlite3") as store:
            store.execute(
                "UPDATE approvers SET totp = (SELECT totp FROM approvers WHERE name = 'eve')"
                " WHERE name = 'ada'"
            )
        answer = await served.browser().sign_in("ada", ada.next_code())
        assert answer.status_code in {400, 401}
        page = await served.browser().get("/approve/enroll")
        assert Form(page.text).to("/approve/enroll")


async def test_all_strangers_together_are_bounded() -> None:
    clock = FakeClock()
    attempts = Attempts(clock=clock)
    for number in range(ALL_AT_ONCE):
        attempts.begin(f"account:{number}", stranger=True)
    with pytest.raises(TooManyAttempts):
        attempts.begin("account:x", stranger=True)
    attempts.begin("browser:x", stranger=False)
    clock.advance(1)
    attempts.begin("account:x", stranger=True)


async def test_nobody_is_locked_out_for_longer_than_a_quarter_of_an_hour() -> None:
    clock = FakeClock()
    attempts = Attempts(clock=clock)
    tried = 0
    for _ in range(86_400 // 10):
        clock.advance(10)
        try:
            attempts.begin("account:ada", stranger=True)
            tried += 1
        except TooManyAttempts:
            continue
    assert tried <= 110  # a day of guessing: 3 codes of a million each
    clock.advance(LONGEST_S)
    attempts.begin("account:ada", stranger=True)
