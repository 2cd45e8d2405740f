"""Somebody who is no approver wants a yes: by a forged signature, name, button or workspace."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hook_kit import (
    RAW_KEY,
    HookedPlane,
    hooked_plane,
    pager_request,
    slack_request,
    webhook_request,
)

from midflight.domain.ticket import Ticket, Verb, sign_ticket
from midflight.services.guard import Performed


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[HookedPlane]:
    with hooked_plane(tmp_path) as running:
        yield running


@pytest.fixture
def asked(plane: HookedPlane) -> tuple[str, str]:
    """(run, approval) of an action that waits, and was told of."""
    run = plane.untrusted_run()
    approval = plane.ask(run)
    plane.tick()
    return run, approval


def still_waits(plane: HookedPlane, approval: str, *, why: str) -> None:
    assert plane.state(approval) == "pending"
    assert plane.running.records("approval_answered") == []
    assert any(why in text for text in plane.refusals()), plane.refusals()


def test_a_signature_of_another_secret(plane: HookedPlane, asked: Any) -> None:
    for secret in ("", "wrong", "slack-signing-secret "):
        status, said = plane.press(plane.buttons()["Approve"], secret=secret)
        assert status == 401
        assert said["code"] == "unauthenticated"
    still_waits(plane, asked[1], why="signature")


def test_a_time_that_is_off(plane: HookedPlane, asked: Any) -> None:
    now = plane.running.plane.clock.now()
    # Thirty seconds more than is too much, for whatever passes between signing and looking.
    for off in (-330, 330, -86_400):
        assert plane.press(plane.buttons()["Approve"], at=now + off)[0] == 401
    still_waits(plane, asked[1], why="too long ago")


def test_a_body_that_was_changed_after_signing(plane: HookedPlane, asked: Any) -> None:
    body, headers = slack_request(plane.buttons()["Approve"], user="U0BOB")
    assert plane.knock("/hooks/chat", headers, body.replace(b"U0BOB", b"U0ANN"))[0] == 401
    still_waits(plane, asked[1], why="signature")


def test_a_header_that_is_missing(plane: HookedPlane, asked: Any) -> None:
    for missing in ("x-slack-signature", "x-slack-request-timestamp"):
        body, headers = slack_request(plane.buttons()["Approve"])
        del headers[missing]
        assert plane.knock("/hooks/chat", headers, body)[0] == 401
    still_waits(plane, asked[1], why="header")


def test_a_name_in_the_body_is_nobodys(plane: HookedPlane, asked: Any) -> None:
    # The sender's own id counts, and he is not among the people; what he calls himself does not.
    changes = {"user": {"id": "U0EVIL", "username": "olivia", "name": "olivia"}}
    status, said = plane.press(plane.buttons()["Approve"], changes=changes)
    assert status == 403
    assert "people" in said["message"]
    still_waits(plane, asked[1], why="people")


def test_another_workspace_with_the_same_user_id(plane: HookedPlane, asked: Any) -> None:
    assert plane.press(plane.buttons()["Approve"], team="T0EVIL")[0] == 403
    still_waits(plane, asked[1], why="another workspace")


def test_a_known_person_who_is_none_of_the_approvers(plane: HookedPlane, asked: Any) -> None:
    status, said = plane.press(plane.buttons()["Approve"], user="U0BOB")
    assert status == 403
    assert "none of the approvers" in said["message"]
    still_waits(plane, asked[1], why="none of the approvers")


def test_a_button_that_somebody_made_himself(plane: HookedPlane, asked: Any) -> None:
    digest = plane.running.client.get(f"/v1/approvals/{asked[1]}")["digest"]
    made = Ticket(
        verb=Verb.APPROVE, subject=asked[1], digest=digest, channel="chat", expires_at=4_000_000_000
    )
    for key in (b"", bytes(32), RAW_KEY):
        assert plane.press(sign_ticket(made, key))[0] == 403
    still_waits(plane, asked[1], why="not made by this plane")


def test_a_button_that_was_changed(plane: HookedPlane, asked: Any) -> None:
    for part in range(7):
        parts = plane.buttons()["Refuse"].split(".")
        parts[part] = "approve" if part == 1 else parts[part][:-1] + "_"
        assert plane.press(".".join(parts))[0] in (400, 403)
    still_waits(plane, asked[1], why="chat: ")


def test_a_button_of_one_action_does_not_answer_another(plane: HookedPlane, asked: Any) -> None:
    first = plane.buttons()["Approve"]
    other = plane.ask(asked[0], to="mallory@evil.example")
    assert plane.press(first)[0] == 200
    assert plane.state(other) == "pending"
    assert not isinstance(plane.act(asked[0], "send_mail", to="mallory@evil.example"), Performed)


def test_a_button_of_one_channel_does_not_work_on_another(plane: HookedPlane, asked: Any) -> None:
    body, headers = webhook_request(plane.buttons("/chat")["Approve"])
    assert plane.knock("/hooks/signed", headers, body)[0] == 403
    assert plane.press(plane.buttons("/signed")["Approve"])[0] == 403
    still_waits(plane, asked[1], why="another channel")


PAYLOADS: list[dict[str, Any]] = [
    {"type": "view_submission"},
    {"actions": []},
    {"actions": [{"type": "button", "value": "a"}, {"type": "button", "value": "b"}]},
    {"actions": [{"type": "static_select", "value": "a"}]},
    {"actions": [{"type": "button"}]},
    {"team": None},
    {"user": {"id": ["U0ANN"]}},
]


def test_a_payload_that_is_no_button(plane: HookedPlane, asked: Any) -> None:
    for changes in PAYLOADS:
        assert plane.press("x", changes=changes)[0] == 400
    still_waits(plane, asked[1], why="chat: ")


def test_a_webhook_by_somebody_without_the_key(plane: HookedPlane, asked: Any) -> None:
    ticket = plane.buttons("/signed")["Approve"]
    body, headers = webhook_request(ticket, key=bytes(32))
    assert plane.knock("/hooks/signed", headers, body)[0] == 401
    body, headers = webhook_request(ticket)
    headers["webhook-signature"] = headers["webhook-signature"].replace("v1,", "v1a,")
    assert plane.knock("/hooks/signed", headers, body)[0] == 401
    body, headers = webhook_request(ticket, person="olivia")
    assert plane.knock("/hooks/signed", headers, body)[0] == 403
    still_waits(plane, asked[1], why="The signature of the webhook")


def test_what_midflight_itself_sent_means_nothing_when_it_comes_back(
    plane: HookedPlane, asked: Any
) -> None:
    # One key for both directions: our own message is signed by it.
    got = plane.posts("/signed")[0]
    names = ("webhook-id", "webhook-timestamp", "webhook-signature", "content-type")
    headers = {name: got.headers[name] for name in names}
    assert plane.knock("/hooks/signed", headers, got.body)[0] == 400
    still_waits(plane, asked[1], why="button.pressed")


def test_a_pager_that_nobody_vouches_for(plane: HookedPlane, asked: Any) -> None:
    notice = plane.running.client.get("/v1/open")[0]["notice"]
    for changes, status in (
        ({"secret": "x"}, 401),
        ({"agent": "P0EVIL"}, 403),
        ({"at": plane.running.plane.clock.now() - 10_000}, 401),
    ):
        body, headers = pager_request(notice, **changes)  # type: ignore[arg-type]
        assert plane.knock("/hooks/page", headers, body)[0] == status
    assert plane.running.client.get("/v1/open")[0]["state"] == "open"


def test_a_channel_that_may_not_answer(tmp_path: Path) -> None:
    with hooked_plane(tmp_path, may_answer=False) as plane:
        approval = plane.ask(plane.untrusted_run())
        plane.tick()
        assert plane.buttons().keys() == {"I have it"}
        digest = plane.running.client.get(f"/v1/approvals/{approval}")["digest"]
        # Even with a ticket of ours, kept from before the operator took the right away.
        key = plane.running.plane.escalating.pressing.key
        made = Ticket(
            verb=Verb.APPROVE,
            subject=approval,
            digest=digest,
            channel="chat",
            expires_at=4_000_000_000,
        )
        assert plane.press(sign_ticket(made, key))[0] == 403
        still_waits(plane, approval, why="not answered from chat")


def test_a_huge_or_nested_body_is_refused_before_it_costs(plane: HookedPlane, asked: Any) -> None:
    body, headers = slack_request("x", changes={"more": "y" * 70_000})
    assert plane.knock("/hooks/chat", headers, body)[0] == 413
    deep = json.loads("[" * 60 + "]" * 60)
    body, headers = slack_request("x", changes={"more": deep})
    assert plane.knock("/hooks/chat", headers, body)[0] in (400, 403)
