"""What was once sent to a hook is sent again: at once, later, after a start, or when it is over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from control_kit import running_plane
from hook_kit import HookedPlane, hooked_plane, pager_request, slack_request, webhook_request

from midflight.domain.errors import Forbidden
from midflight.domain.ticket import Ticket, Verb, open_ticket, sign_ticket
from midflight.services.guard import Performed


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[HookedPlane]:
    with hooked_plane(tmp_path) as running:
        yield running


def test_the_same_press_again_answers_nothing(plane: HookedPlane) -> None:
    run = plane.untrusted_run()
    approval = plane.ask(run)
    plane.tick()
    body, headers = slack_request(plane.buttons()["Approve"])
    assert plane.knock("/hooks/chat", headers, body)[0] == 200
    assert isinstance(plane.act(run, "send_mail", to="bob@x.org"), Performed)
    # Asked about anew, with the very same digest: the old press must not answer it.
    again = plane.ask(run)
    assert again != approval
    status, said = plane.knock("/hooks/chat", headers, body)
    assert (status, said["message"]) == (200, "This was taken before.")
    assert plane.state(again) == "pending"
    assert len(plane.running.records("approval_answered")) == 1
    assert any("came again" in why for why in plane.refusals())


def test_the_old_button_does_not_answer_the_new_question(plane: HookedPlane) -> None:
    run = plane.untrusted_run()
    plane.ask(run)
    plane.tick()
    old = plane.buttons()["Approve"]
    assert plane.press(old)[0] == 200
    assert isinstance(plane.act(run, "send_mail", to="bob@x.org"), Performed)
    again = plane.ask(run)
    assert plane.press(old)[0] == 409  # a fresh press, of a button that is used up
    assert plane.state(again) == "pending"


def test_a_webhook_under_the_same_id(plane: HookedPlane) -> None:
    approval = plane.ask(plane.untrusted_run())
    plane.tick()
    ticket = plane.buttons("/signed")["I have it"]
    assert plane.knock("/hooks/signed", *_swapped(webhook_request(ticket)))[0] == 200
    # Another message under an id that was used, signed anew.
    yes = webhook_request(plane.buttons("/signed")["Approve"])
    assert plane.knock("/hooks/signed", *_swapped(yes))[1]["message"] == "This was taken before."
    assert plane.state(approval) == "pending"


def test_a_pager_event_again(plane: HookedPlane) -> None:
    plane.ask(plane.untrusted_run())
    plane.tick()
    notice = plane.running.client.get("/v1/open")[0]["notice"]
    request = _swapped(pager_request(notice))
    assert plane.knock("/hooks/page", *request)[0] == 200
    assert plane.knock("/hooks/page", *request)[1]["message"] == "This was taken before."
    assert len(plane.running.records("acknowledged")) == 1


def test_a_start_in_between_forgets_nothing(tmp_path: Path) -> None:
    with hooked_plane(tmp_path) as plane:
        run = plane.untrusted_run()
        plane.ask(run)
        plane.tick()
        request = _swapped(slack_request(plane.buttons()["I have it"]))
        assert plane.knock("/hooks/chat", *request)[0] == 200
        settings = plane.running.config.read_text(encoding="utf-8").split("[control]")[0]
    with running_plane(tmp_path, extra=settings) as running:
        again = HookedPlane(running, plane.there)
        assert again.knock("/hooks/chat", *request)[1]["message"] == "This was taken before."
        # Tickets stay good over a start: the key is the plane's, and not the process's.
        assert running.plane.escalating.pressing.key == running.plane.escalating.items.key
        assert len(running.plane.escalating.pressing.key) == 32


@pytest.mark.parametrize("late", [0, 1, 10_000])
def test_a_button_ends_with_its_question(late: int) -> None:
    ticket = Ticket(
        verb=Verb.APPROVE, subject="apr_1", digest="d" * 64, channel="chat", expires_at=1_000
    )
    text = sign_ticket(ticket, b"k" * 32)
    assert open_ticket(text, b"k" * 32, channel="chat", now=999.9) == ticket
    with pytest.raises(Forbidden, match="too old"):
        open_ticket(text, b"k" * 32, channel="chat", now=1_000 + late)


def _swapped(request: tuple[bytes, dict[str, str]]) -> tuple[dict[str, str], bytes]:
    return request[1], request[0]
