"""A response of a passkey is shown again, elsewhere, for something else, or without its person."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from approver_kit import (
    OPERATOR,
    Approving,
    Device,
    Form,
    approving,
    device,
    show_passkey,
    with_passkey,
)
from hypothesis import given
from hypothesis import strategies as st

from midflight.adapters.login.passkeys import WebauthnPasskeys
from midflight.domain.errors import Unauthenticated
from midflight.services.sign_in_challenges import SignInChallenges
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


async def test_a_response_is_good_once(served: Approving, one: Device) -> None:
    browser = await with_passkey(served, "ada", one, "team-one")
    page = await browser.get("/approve")
    form = Form(page.text).to("/approve/sign-in", passkey=True)
    fields = {**form["fields"], "response": one.ask(form)}
    assert (await browser.post(form["action"], **fields)).status_code == 303
    thief = served.browser()
    assert (await thief.post(form["action"], **fields)).status_code == 401
    # Nor by a challenge of his own.
    own = Form((await thief.get("/approve")).text).to("/approve/sign-in", passkey=True)
    mixed = {**own["fields"], "response": fields["response"]}
    assert (await thief.post(own["action"], **mixed)).status_code == 401


async def test_strangers_however_many_push_no_challenge_out(served: Approving, one: Device) -> None:
    browser = await with_passkey(served, "ada", one, "team-one")
    form = Form((await browser.get("/approve")).text).to("/approve/sign-in", passkey=True)
    for _ in range(10_001):
        await served.plane.approvers.factors.ask_passkey()
    fields = {**form["fields"], "response": one.ask(form)}
    assert (await browser.post(form["action"], **fields)).status_code == 303


async def test_one_response_sent_twice_at_once_signs_one_in(served: Approving, one: Device) -> None:
    browser = await with_passkey(served, "ada", one, "team-one")
    form = Form((await browser.get("/approve")).text).to("/approve/sign-in", passkey=True)
    # As from an authenticator without a counter, so that nothing but the challenge tells.
    fields = {**form["fields"], "response": one.ask(form, count=-1)}
    tried = [served.browser().post(form["action"], **fields) for _ in range(5)]
    answers = [answer.status_code for answer in await asyncio.gather(*tried)]
    assert sorted(answers) == [303, 401, 401, 401, 401]


@pytest.mark.parametrize("ticket", ["", "x", "AAAA", "A" * 75, "A" * 10_000, "\u00e9"])
def test_a_ticket_that_is_none_has_no_challenge(ticket: str) -> None:
    clock = FakeClock()
    mine, others = SignInChallenges(clock=clock), SignInChallenges(clock=clock)
    assert mine.of(ticket) is None
    made, challenge = mine.new()
    assert mine.of(made) == challenge
    assert others.of(made) is None
    for at in range(0, len(made), 7):
        bent = made[:at] + ("B" if made[at] == "A" else "A") + made[at + 1 :]
        assert mine.of(bent) is None
    clock.advance(121)
    assert mine.of(made) is None


async def test_a_challenge_is_short_lived(served: Approving, one: Device) -> None:
    browser = await with_passkey(served, "ada", one, "team-one")
    form = Form((await browser.get("/approve")).text).to("/approve/sign-in", passkey=True)
    response = one.ask(form)
    served.clock.leap(121)
    late = await browser.post(form["action"], **{**form["fields"], "response": response})
    assert late.status_code == 401


async def test_a_response_for_one_answer_is_none_for_another(
    served: Approving, one: Device
) -> None:
    browser = await with_passkey(served, "ada", one, "team-one")
    run = await served.run()
    first, second = await served.ask(run, to="bob@x.org"), await served.ask(run, to="eve@x.org")
    await show_passkey(browser, one)
    served.clock.leap(301)
    shown = Form((await browser.get(f"/approve/{first}")).text).to(f"/approve/{first}")
    aimed = Form((await browser.get(f"/approve/{second}")).text).to(f"/approve/{second}")
    moved = {
        **aimed["fields"],
        "ticket": shown["fields"]["ticket"],
        "response": one.ask(shown),
        "decision": "yes",
    }
    assert (await browser.post(aimed["action"], **moved)).status_code == 401
    assert (await served.desk.show(second)).state.value == "pending"
    # A challenge to sign in is none to answer, either.
    door = Form((await served.browser().get("/approve")).text).to("/approve/sign-in", passkey=True)
    lent = {
        **aimed["fields"],
        "ticket": door["fields"]["ticket"],
        "response": one.ask(door),
        "decision": "yes",
    }
    assert (await browser.post(aimed["action"], **lent)).status_code == 401
    assert (await served.desk.show(second)).state.value == "pending"


async def test_another_persons_passkey_does_not_answer_for_one(
    served: Approving, one: Device
) -> None:
    browser = await with_passkey(served, "ada", one, "team-one")
    with device(served.url) as other:
        await with_passkey(served, "eve", other)
        approval = await served.ask()
        await show_passkey(browser, one)
        served.clock.leap(301)
        form = Form((await browser.get(f"/approve/{approval}")).text).to(f"/approve/{approval}")
        options = json.loads(form["data-options"])
        response = other.say("get", options)
        fields = {**form["fields"], "response": response, "decision": "yes"}
        assert (await browser.post(form["action"], **fields)).status_code == 401
        # With the other's id written over, its signature is not hers.
        forged = json.loads(response)
        forged["id"] = forged["rawId"] = options["allowCredentials"][0]["id"]
        again = Form((await browser.get(f"/approve/{approval}")).text).to(f"/approve/{approval}")
        fields = {**again["fields"], "response": json.dumps(forged), "decision": "yes"}
        assert (await browser.post(form["action"], **fields)).status_code == 401
        assert (await served.desk.show(approval)).state.value == "pending"


async def test_without_its_person_a_passkey_is_nothing(served: Approving, one: Device) -> None:
    browser = await with_passkey(served, "ada", one, "team-one")
    assert (await show_passkey(browser, one, verify=False)).status_code == 401
    assert (await show_passkey(browser, one)).status_code == 303
    page = await served.enrolling("ada", served.browser())
    form = Form(page.text).to("/approve/enroll/passkey")
    with device(served.url) as careless:
        made = careless.ask(form, verify=False)
        passkeys = WebauthnPasskeys(host="localhost", origin=served.url)
        challenge = json.loads(form["data-options"])["challenge"]
        with pytest.raises(Unauthenticated):
            passkeys.created(made, challenge=_bytes(challenge))


async def test_a_copy_shows_by_its_counter(served: Approving, one: Device) -> None:
    browser = await with_passkey(served, "ada", one, "team-one")
    for _ in range(3):
        assert (await show_passkey(browser, one)).status_code == 303
        await browser.post(
            "/approve/sign-out",
            **Form((await browser.get("/approve")).text).to("/approve/sign-out")["fields"],
        )
    assert (await show_passkey(browser, one, count=1)).status_code == 401


async def test_a_page_elsewhere_gets_nothing_that_counts_here(
    served: Approving, one: Device
) -> None:
    browser = await with_passkey(served, "ada", one, "team-one")
    one.origin = "https://localhost.evil.example"
    assert (await show_passkey(browser, one)).status_code == 401
    one.origin = served.url.replace("http:", "https:")
    assert (await show_passkey(browser, one)).status_code == 401


async def test_an_enrolment_takes_no_passkey_for_another(served: Approving, one: Device) -> None:
    await with_passkey(served, "ada", one, "team-one")
    await served.accounts.add("eve", OPERATOR)
    browser = served.browser()
    form = Form((await served.enrolling("eve", browser)).text).to("/approve/enroll/passkey")
    other = served.browser()
    theirs = Form((await served.enrolling("ada", other)).text).to("/approve/enroll/passkey")
    with device(served.url) as fresh:
        mixed = {**theirs["fields"], "response": fresh.ask(form)}
        assert (await browser.post(form["action"], **mixed)).status_code == 403
        mixed = {**form["fields"], "ticket": theirs["fields"]["ticket"]}
        mixed["response"] = fresh.ask(theirs)
        assert (await browser.post(form["action"], **mixed)).status_code == 401
    assert await served.plane.parts.store.list_passkeys("eve") == []


PASSKEYS = WebauthnPasskeys(host="localhost", origin="http://localhost:1")
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
parts = st.sampled_from(["clientDataJSON", "authenticatorData", "signature", "attestationObject"])
responses = st.fixed_dictionaries(
    {
        "id": values,
        "rawId": values,
        "type": st.just("public-key") | values,
        "response": st.dictionaries(parts, st.text(alphabet="AQIDoWNmbXQ_-", max_size=60) | values),
    }
)


@given(st.text(max_size=200) | responses.map(json.dumps))
def test_any_response_is_refused_cleanly(response: str) -> None:
    for ask in (
        lambda: PASSKEYS.created(response, challenge=b"c" * 32),
        lambda: PASSKEYS.asserted(response, challenge=b"c" * 32, key=b"\xa0", count=0),
    ):
        with pytest.raises(Unauthenticated):
            ask()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
