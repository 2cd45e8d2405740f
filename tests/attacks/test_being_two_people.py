"""One human answers twice: by an account here, and by a provider that nobody has mapped him at."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from approver_kit import Approving, Form, approving, shown
from hypothesis import given
from hypothesis import strategies as st

from midflight.domain.approval import Answer, has_agreed, stands_for, still_missing
from midflight.domain.authorization import Person as Outsider
from midflight.domain.errors import Forbidden
from midflight.services.approver_people import OutsideApprovers

pytestmark = pytest.mark.anyio

ISSUER = "https://id.example"
BOTH = ("team-one", "security")


async def outside(served: Approving, name: str, *, mapped: bool = False) -> str:
    """The cookie of somebody whom the provider puts into the group `security`."""
    approvers = OutsideApprovers(
        store=served.plane.parts.store,
        sessions=served.plane.approvers.sessions,
        clock=served.clock,
        people={name: "ada"} if mapped else {},
        groups={"sec@idp": "security"},
    )
    now = int(served.clock.now())
    return await approvers.sign_in(
        Outsider(name=name, proof=f"oidc:{ISSUER}", groups=("sec@idp",), at=now)
    )


async def answer_by(served: Approving, cookie: str, approval: str) -> int:
    browser = served.browser()
    browser.http.cookies.set("midflight-approver", cookie)
    return (await browser.answer(approval)).status_code


async def state(served: Approving, approval: str) -> str:
    return (await served.desk.show(approval)).state.value


@pytest.mark.parametrize("account_first", [True, False])
async def test_an_account_and_a_login_that_nobody_mapped_are_not_two_people(
    tmp_path: Path, *, account_first: bool
) -> None:
    async with approving(tmp_path, approvers="owner, security") as served:
        ada = await served.person("ada", *BOTH)
        approval = await served.ask()
        again = await outside(served, "ada@example.org")
        if account_first:
            assert (await ada.browser.answer(approval)).status_code == 303
            browser = served.browser()
            browser.http.cookies.set("midflight-approver", again)
            page = await browser.get(f"/approve/{approval}")
            assert "You are known by https://id.example alone" in shown(page.text)
            assert await answer_by(served, again, approval) == 303
        else:
            assert await answer_by(served, again, approval) == 303
            assert (await ada.browser.answer(approval)).status_code == 303
        assert await state(served, approval) == "pending"
        assert (await served.desk.show(approval)).missing
        # A second account that an operator made is somebody else.
        bob = await served.person("bob", *BOTH, browser=served.browser())
        assert (await bob.browser.answer(approval)).status_code == 303
        assert await state(served, approval) == "approved"


async def test_mapped_he_is_the_account_and_answers_once(tmp_path: Path) -> None:
    async with approving(tmp_path, approvers="owner, security") as served:
        ada = await served.person("ada", *BOTH)
        approval = await served.ask()
        assert (await ada.browser.answer(approval)).status_code == 303
        cookie = await outside(served, "ada@example.org", mapped=True)
        browser = served.browser()
        browser.http.cookies.set("midflight-approver", cookie)
        page = await browser.get(f"/approve/{approval}")
        assert "You have answered." in page.text
        assert not [f for f in Form(page.text).forms if f["action"].endswith(approval)]
        assert await state(served, approval) == "pending"


async def test_four_eyes_are_not_those_of_somebody_who_may_be_the_owner(tmp_path: Path) -> None:
    async with approving(tmp_path, approvers="security, !owner") as served:
        approval = await served.ask()
        person = await served.plane.approvers.sessions.of(await outside(served, "team-one"))
        assert person is not None
        assert not await served.desk.waiting(person.author, member_of=person.groups)
        with pytest.raises(Forbidden):
            await served.desk.approve(approval, author=person.author, member_of=person.groups)
        assert await state(served, approval) == "pending"


async def test_where_one_has_to_agree_he_may(tmp_path: Path) -> None:
    async with approving(tmp_path, approvers="security") as served:
        approval = await served.ask()
        assert await answer_by(served, await outside(served, "x"), approval) == 303
        assert await state(served, approval) == "approved"


def test_two_of_one_provider_are_two() -> None:
    def yes(author: str, *roles: str) -> Answer:
        return Answer(author=author, proof="p", at=0, yes=True, stands_for=roles)

    x, y = yes(f"{ISSUER}#x", "a", "b"), yes(f"{ISSUER}#y", "a", "b")
    assert has_agreed(("a", "b"), [x, y])
    assert not has_agreed(("a", "b"), [x, yes("https://other.example#y", "a", "b")])
    assert not has_agreed(("a", "b"), [x, yes("y", "a", "b")])


names = st.sampled_from(["ada", "bob", f"{ISSUER}#ada", f"{ISSUER}#bob", "https://b#ada"])
roles = st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True)


@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True),
    st.dictionaries(names, roles, max_size=5),
)
def test_who_agreed_is_always_of_one_register(
    approvers: list[str], given: dict[str, list[str]]
) -> None:
    answers = [
        Answer(author=name, proof="p", at=0, yes=True, stands_for=tuple(may))
        for name, may in given.items()
    ]
    agreed = has_agreed(approvers, answers)
    expected = any(
        len({name.partition("#")[0] if "#" in name else "" for name in chosen}) == 1
        and all(role in given[name] for role, name in zip(approvers, chosen, strict=True))
        for chosen in itertools.permutations(given, len(approvers))
    )
    assert agreed is expected
    assert (still_missing(approvers, answers) == ()) is agreed


@given(roles, names)
def test_nobody_unmapped_stands_for_another_than_the_owner_in_four_eyes(
    groups: list[str], name: str
) -> None:
    found = stands_for(name, ("a", "b", "!owner"), owner="c", groups={}, member_of=groups)
    assert not found or "#" not in name
