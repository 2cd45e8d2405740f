"""Somebody begins so many sign-ins, answers or enrolments that there is no room for others'."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from approver_kit import Approving, Device, Form, approving, device, show_passkey, with_passkey
from people_kit import KnownPeople

from midflight.domain.errors import Unauthenticated
from midflight.services.authorization_people import MAX_HELD, People
from midflight.services.sign_in_states import SignInStates
from midflight.testing import FakeClock

pytestmark = pytest.mark.anyio


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Approving]:
    async with approving(tmp_path) as running:
        yield running


@pytest.fixture
def one(served: Approving) -> Iterator[Device]:
    with device(served.url) as made:
        yield made


def at_a_provider() -> tuple[FakeClock, KnownPeople, People]:
    clock = FakeClock()
    provider = KnownPeople(now=int(clock.now()))
    return clock, provider, People(clock=clock, provider=provider, development=False)


async def test_strangers_who_leave_for_the_provider_keep_nobody_from_coming_back() -> None:
    _, provider, people = at_a_provider()
    where = await people.leave(back="/approve/x", browser="hers")
    for number in range(MAX_HELD + 1):
        await people.leave(back="/approve", browser=f"strangers-{number}")
    state, code = provider.log_in(where, "ada")
    person, back = await people.come_back(state=state, code=code, issuer=None, browser="hers")
    assert (person.name, back) == ("ada", "/approve/x")


async def test_what_strangers_bring_back_is_kept_nowhere() -> None:
    _, provider, people = at_a_provider()
    for number in range(100):
        where = await people.leave(back="/approve", browser="x")
        state, _ = provider.log_in(where, "eve")
        with pytest.raises(Unauthenticated):
            await people.come_back(state=state, code=f"guess-{number}", issuer=None, browser="x")
    assert len(people._states._spent) == 0


async def test_a_state_is_good_once_in_its_browser_and_for_ten_minutes() -> None:
    clock, provider, people = at_a_provider()
    where = await people.leave(back="/approve", browser="hers")
    state, code = provider.log_in(where, "ada")
    for browser in ("another", "", None):
        with pytest.raises(Unauthenticated):
            await people.come_back(state=state, code=code, issuer=None, browser=browser)
    with pytest.raises(Unauthenticated):
        await people.come_back(state=state, code=code, issuer="https://evil", browser="hers")
    await people.come_back(state=state, code=code, issuer=None, browser="hers")
    # Not again, though somebody logged in once more by the address that was seen on the way.
    state, second = provider.log_in(where, "eve")
    with pytest.raises(Unauthenticated):
        await people.come_back(state=state, code=second, issuer=None, browser="hers")
    where = await people.leave(back="/approve", browser="hers")
    state, code = provider.log_in(where, "ada")
    clock.advance(601)
    with pytest.raises(Unauthenticated):
        await people.come_back(state=state, code=code, issuer=None, browser="hers")


@pytest.mark.parametrize("state", ["", "x", "AAAA", "A" * 400, "A" * 10_000, "\u00e9", "="])
def test_a_state_that_is_none_stands_for_nothing(state: str) -> None:
    clock = FakeClock()
    states = SignInStates(clock=clock, seconds=600)
    assert states.of(state, browser="x") is None
    mine, _ = states.new(back="/approve", browser="x")
    for at in range(0, len(mine), 7):
        changed = mine[:at] + ("A" if mine[at] != "A" else "B") + mine[at + 1 :]
        assert states.of(changed, browser="x") is None
    assert SignInStates(clock=clock, seconds=600).of(mine, browser="x") is None


async def test_one_who_is_signed_in_pushes_out_no_answer_of_another(
    served: Approving, one: Device
) -> None:
    browser = await with_passkey(served, "ada", one, "team-one")
    await show_passkey(browser, one)
    approval = await served.ask()
    served.clock.leap(301)
    page = await browser.get(f"/approve/{approval}")
    form = Form(page.text).to(f"/approve/{approval}", passkey=True)
    eve = (await served.plane.parts.store.list_approvers())[0]
    for _ in range(MAX_HELD + 1):
        await served.plane.approvers.factors.ask_passkey(eve, use="answer:apr_x:y:z")
    fields = {**form["fields"], "response": one.ask(form), "decision": "yes"}
    done = await browser.post(f"/approve/{approval}", **fields)
    assert done.status_code == 303, done.text


async def test_a_challenge_for_one_answer_is_none_for_another_or_for_signing_in(
    served: Approving, one: Device
) -> None:
    browser = await with_passkey(served, "ada", one, "team-one")
    await show_passkey(browser, one)
    first, second = await served.ask(), await served.ask()
    served.clock.leap(301)
    page = await browser.get(f"/approve/{first}")
    form = Form(page.text).to(f"/approve/{first}", passkey=True)
    signed = one.ask(form)
    other = Form((await browser.get(f"/approve/{second}")).text).to(f"/approve/{second}")
    fields = {**form["fields"], "response": signed, "decision": "yes"}
    moved = {**fields, "digest": other["fields"]["digest"]}
    assert (await browser.post(f"/approve/{second}", **moved)).status_code == 401
    assert (await served.browser().post("/approve/sign-in", **fields)).status_code == 401
    # Nor does a ticket for signing in answer anything.
    door = Form((await served.browser().get("/approve")).text).to("/approve/sign-in", passkey=True)
    mixed = {**fields, "ticket": door["fields"]["ticket"], "response": one.ask(door)}
    assert (await browser.post(f"/approve/{first}", **mixed)).status_code == 401
    assert (await served.desk.show(first)).state.value == "pending"
    # What was left over is still good for what it was made for, once.
    assert (await browser.post(f"/approve/{first}", **fields)).status_code == 303


async def test_a_secret_of_codes_is_enrolled_once_and_in_its_own_account(
    served: Approving,
) -> None:
    ada = await served.person("ada", "team-one", signed_in=False)
    factors = served.plane.approvers.factors
    store = served.plane.parts.store
    for name in ("bob", "eve"):
        await served.person(name, browser=served.browser(), signed_in=False)
    bob, eve = await store.get_approver("bob"), await store.get_approver("eve")
    assert bob is not None
    assert eve is not None
    made = factors.new_secret(bob)
    with pytest.raises(Exception, match="enrolment is over"):
        factors.shown_secret(eve, made.ticket)
    assert factors.shown_secret(bob, made.ticket) == made
    ada._totp.secret = made.secret
    await factors.add_secret(bob, ada.code(), ticket=made.ticket, proof="test")
    with pytest.raises(Exception, match="enrolment is over"):
        await factors.add_secret(bob, ada.code(), ticket=made.ticket, proof="test")
