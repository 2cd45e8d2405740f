"""A person's answer is lost to a failure, or what he sent once counts twice because of one.

Somebody who can make the store or the ledger fail for a moment would like the "no" that was just
pressed to be gone; and somebody who has seen a message would like it to count again.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hook_kit import HookedPlane, hooked_plane, pager_request, slack_request, webhook_request

from midflight.domain.errors import Conflict, StoreUnavailable
from midflight.domain.identity import Author
from midflight.services.pressing import Pressing


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[HookedPlane]:
    with hooked_plane(tmp_path) as running:
        yield running


@pytest.fixture
def asked(plane: HookedPlane) -> str:
    approval = plane.ask(plane.untrusted_run())
    plane.tick()
    return approval


class Failing:
    """A method of the store that does not answer `times` times, before or after it has worked."""

    def __init__(
        self, plane: HookedPlane, name: str, *, times: int = 1, late: bool = False
    ) -> None:
        store: Any = plane.running.plane.parts.store
        self.left, self.late, self.real = times, late, getattr(store, name)
        setattr(store, name, self)

    async def __call__(self, *given: Any, **named: Any) -> Any:
        if self.left == 0:
            return await self.real(*given, **named)
        self.left -= 1
        if self.late:
            await self.real(*given, **named)
        raise StoreUnavailable("The store does not answer.")


def pressed(plane: HookedPlane, label: str, way: str) -> tuple[str, Mapping[str, str], bytes]:
    if way == "slack":
        body, headers = slack_request(plane.buttons()[label])
        return "/hooks/chat", headers, body
    body, headers = webhook_request(plane.buttons("/signed")[label])
    return "/hooks/signed", headers, body


@pytest.mark.parametrize("way", ["slack", "webhook"])
@pytest.mark.parametrize("label", ["Approve", "Refuse", "I have it"])
def test_a_press_that_the_store_failed_is_taken_when_it_comes_again(
    plane: HookedPlane, asked: str, label: str, way: str
) -> None:
    message = pressed(plane, label, way)
    failing = Failing(plane, "change_notices" if label == "I have it" else "answer_approval")
    status, said = plane.knock(*message)
    assert (status, said["code"]) == (503, "store_unavailable")
    assert failing.left == 0
    assert plane.state(asked) == "pending"
    assert plane.knock(*message)[0] == 200
    plane.tick()
    state = {"Approve": "approved", "Refuse": "refused", "I have it": "pending"}[label]
    assert plane.state(asked) == state
    is_open = [each["state"] for each in plane.running.client.get("/v1/open")]
    assert is_open == (["acknowledged"] if label == "I have it" else [])
    assert plane.knock(*message)[1]["message"] == "This was taken before."


def test_an_acknowledgement_that_the_store_failed_is_taken_when_it_comes_again(
    plane: HookedPlane, asked: str
) -> None:
    notice = plane.running.client.get("/v1/open")[0]["notice"]
    body, headers = pager_request(notice)
    Failing(plane, "change_notices")
    assert plane.knock("/hooks/page", headers, body)[0] == 503
    assert plane.running.client.get("/v1/open")[0]["state"] == "open"
    assert plane.knock("/hooks/page", headers, body)[0] == 200
    assert plane.running.client.get("/v1/open")[0]["state"] == "acknowledged"


@pytest.mark.parametrize("failed", ["answer_approval", "use_once"])
def test_what_failed_after_it_was_durable_does_not_count_twice(
    plane: HookedPlane, asked: str, failed: str
) -> None:
    message = pressed(plane, "Approve", "slack")
    Failing(plane, failed, late=failed == "answer_approval")
    status, said = plane.knock(*message)
    # An answer that is durable is told as such, whether or not its message could be noted.
    assert status == (503 if failed == "answer_approval" else 200), said
    assert plane.state(asked) == "approved"
    status, said = plane.knock(*message)
    assert (status, said["code"]) == (409, "conflict")
    assert plane.knock(*message)[1]["message"] == "This was taken before."
    shown = plane.running.client.get(f"/v1/approvals/{asked}")
    assert [each["author"] for each in shown["answers"]] == ["olivia"]


def test_what_cannot_be_looked_up_is_not_taken(plane: HookedPlane, asked: str) -> None:
    message = pressed(plane, "Approve", "webhook")
    Failing(plane, "was_used")
    assert plane.knock(*message)[0] == 503
    assert plane.state(asked) == "pending"
    assert plane.knock(*message)[0] == 200


def test_two_of_the_same_at_once_are_one(plane: HookedPlane, asked: str) -> None:
    path, headers, body = pressed(plane, "Approve", "slack")
    answers: list[tuple[int, Any]] = []

    async def both() -> None:
        answers.extend(
            await asyncio.gather(*(plane.knocked(path, headers, body) for _ in range(5)))
        )

    plane.running.do(both)
    assert [status for status, _ in answers] == [200] * 5
    assert sum(said["message"] == "This was taken before." for _, said in answers) == 4
    assert len(plane.running.records("approval_answered")) == 1


def test_what_was_refused_for_good_stays_refused(plane: HookedPlane, asked: str) -> None:
    # A button of another channel; then the same message again, whatever has changed since.
    body, headers = webhook_request(plane.buttons("/chat")["Approve"])
    assert plane.knock("/hooks/signed", headers, body)[0] == 403
    assert plane.knock("/hooks/signed", headers, body)[1]["message"] == "This was taken before."
    assert plane.state(asked) == "pending"


def test_a_sender_that_hangs_up_may_say_it_again(plane: HookedPlane, asked: str) -> None:
    path, headers, body = pressed(plane, "Refuse", "slack")

    async def hang_up() -> None:
        reached = asyncio.Event()
        store: Any = plane.running.plane.parts.store
        real = store.answer_approval

        async def held(*given: Any, **named: Any) -> Any:
            reached.set()
            await asyncio.Event().wait()

        store.answer_approval = held
        knocking = asyncio.ensure_future(plane.knocked(path, headers, body))
        await reached.wait()
        knocking.cancel()
        await asyncio.gather(knocking, return_exceptions=True)
        store.answer_approval = real

    plane.running.do(hang_up)
    assert plane.state(asked) == "pending"
    assert plane.knock(path, headers, body)[0] == 200
    assert plane.state(asked) == "refused"


def test_two_replicas_that_get_the_same_at_once_take_one_answer(
    plane: HookedPlane, asked: str
) -> None:
    ticket = plane.buttons("/signed")["Approve"]
    ours = plane.running.plane.escalating.pressing
    theirs = copy.copy(ours)
    theirs._turn = asyncio.Lock()  # a lock of one process holds nobody in another
    olivia = Author(name="olivia", proof="webhook:signed/u-17")

    async def both() -> list[str | BaseException | None]:
        def means(one: Pressing) -> Callable[[], Awaitable[str]]:
            return lambda: one.press("signed", ticket, author=olivia)

        return await asyncio.gather(
            *(one.take("signed", "the same", means(one)) for one in (ours, theirs)),
            return_exceptions=True,
        )

    said = plane.running.do(both)
    assert [type(each) for each in said].count(str) == 1
    assert sum(isinstance(each, Conflict) or each is None for each in said) == 1
    shown = plane.running.client.get(f"/v1/approvals/{asked}")
    assert [each["author"] for each in shown["answers"]] == ["olivia"]
