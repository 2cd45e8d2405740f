"""Approvals that go out to channels and come back: the whole way, on a real plane."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hook_kit import HookedPlane, hooked_plane, pager_request, webhook_request

from midflight.services.guard import Performed


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[HookedPlane]:
    with hooked_plane(tmp_path) as running:
        yield running


def test_a_yes_in_slack_lets_this_very_action_pass_once(plane: HookedPlane) -> None:
    run = plane.untrusted_run()
    approval = plane.ask(run)
    plane.tick()
    document = plane.posts("/chat")[0].document
    text = document["blocks"][1]["text"]["text"]
    assert "action: desk/send_mail" in text
    assert "argument to: bob@x.org" in text  # a yes is about what was shown
    assert plane.buttons().keys() == {"Approve", "Refuse", "I have it"}
    status, said = plane.press(plane.buttons()["Approve"])
    assert status == 200, said
    assert said["message"].startswith(f"olivia agreed to {approval}, which is approved")
    assert isinstance(plane.act(run, "send_mail", to="bob@x.org"), Performed)
    assert plane.state(approval) == "used"
    (record,) = plane.running.records("approval_answered")
    assert (record["author"], record["proof"]) == ("olivia", "slack:T0TEAM/U0ANN")
    # And another one is asked about again.
    assert plane.ask(run, to="carol@x.org") != approval


def test_a_no_in_slack_stands(plane: HookedPlane) -> None:
    run = plane.untrusted_run()
    approval = plane.ask(run)
    plane.tick()
    assert plane.press(plane.buttons()["Refuse"])[0] == 200
    assert plane.state(approval) == "refused"
    assert not isinstance(plane.act(run, "send_mail", to="bob@x.org"), Performed)


def test_a_signed_webhook_answers_too(plane: HookedPlane) -> None:
    approval = plane.ask(plane.untrusted_run())
    plane.tick()
    body, headers = webhook_request(plane.buttons("/signed")["Approve"])
    status, said = plane.knock("/hooks/signed", headers, body)
    assert status == 200, said
    assert plane.state(approval) == "approved"
    (record,) = plane.running.records("approval_answered")
    assert (record["author"], record["proof"]) == ("olivia", "webhook:signed/u-17")


def test_a_button_and_a_pager_say_that_somebody_has_it(plane: HookedPlane) -> None:
    run = plane.untrusted_run()
    plane.ask(run)
    plane.tick()
    assert plane.press(plane.buttons()["I have it"])[0] == 200
    (waiting,) = plane.running.client.get("/v1/open")
    assert (waiting["state"], waiting["by"]) == ("acknowledged", "olivia")
    plane.ask(run, to="carol@x.org")
    plane.tick()
    second = plane.running.client.get("/v1/open")[1]
    body, headers = pager_request(second["notice"])
    status, _ = plane.knock("/hooks/page", headers, body)
    assert status == 200
    shown = plane.running.client.get(f"/v1/notices/{second['notice']}")
    assert (shown["state"], shown["proof"]) == ("acknowledged", "pagerduty:page/P0ANN")


def test_an_answer_ends_the_notice(plane: HookedPlane) -> None:
    plane.ask(plane.untrusted_run())
    plane.tick()
    assert len(plane.running.client.get("/v1/open")) == 1
    plane.press(plane.buttons()["Approve"])
    plane.tick()
    assert plane.running.client.get("/v1/open") == []
    told = [got.document["type"] for got in plane.posts("/signed")]
    assert told == ["notice.trigger", "notice.resolve"]


def test_where_slack_takes_an_answer_it_gets_one(plane: HookedPlane) -> None:
    plane.ask(plane.untrusted_run())
    plane.tick()
    where = {"response_url": f"{plane.there.url}/answer"}
    plane.press(plane.buttons()["I have it"], changes=where)
    told = plane.there.wait("/answer").document
    assert told["response_type"] == "ephemeral"
    assert "olivia has ntc_" in told["text"]


def test_what_is_no_event_of_interest_is_taken_and_means_nothing(plane: HookedPlane) -> None:
    body, headers = pager_request("x", kind="pagey.ping")
    assert plane.knock("/hooks/page", headers, body) == (200, {"message": "Nothing to do."})


def test_incidents_of_others_are_no_errors(plane: HookedPlane) -> None:
    # What is not taken is sent again, and a subscription that fails is switched off.
    for number, (key, agent) in enumerate(
        [("somebody-elses", "P0ANN"), ("", "P0ANN"), ("with spaces", "P0ANN"), ("ntc_1", "")]
    ):
        body, headers = pager_request(key, agent=agent, event=f"E{number}")
        assert plane.knock("/hooks/page", headers, body)[0] == 200
    assert plane.running.records("acknowledged") == []


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/hooks/none", "POST", 404), ("/hooks/chat", "GET", 400), ("/hooks/chat/x", "POST", 404)],
)
def test_what_is_not_there(plane: HookedPlane, path: str, method: str, status: int) -> None:
    assert plane.knock(path, {}, b"", method=method)[0] == status
    assert plane.refusals()


def test_no_yes_is_offered_for_what_was_not_wholly_shown(plane: HookedPlane) -> None:
    run = plane.untrusted_run()
    plane.ask(run, to="bob@x.org", body="x" * 500)
    plane.tick()
    assert plane.buttons().keys() == {"Refuse", "I have it"}
    plane.ask(
        plane.untrusted_run(), to="bob@x.org", token="ghp_abcdefghijklmnopqrstuvwxyz0123456789"
    )
    plane.running.plane.escalating.telling._pacing._groups.clear()
    plane.tick()
    text = plane.posts("/chat")[-1].body.decode()
    assert "ghp_" not in text
    assert "[not shown here]" in text
    assert plane.buttons().keys() == {"Refuse", "I have it"}


def test_no_secret_of_a_channel_is_in_a_record_or_a_notice(plane: HookedPlane) -> None:
    plane.ask(plane.untrusted_run())
    plane.there.statuses = [500, 500]
    plane.tick()
    kinds = ("notified", "observed", "changed", "approval_asked")
    everything = str([plane.running.records(kind) for kind in kinds])
    everything += str(plane.running.client.get("/v1/notices"))
    for secret in ("slack-signing", "R0UT1NG", "whsec_", "/chat", "pager-secret"):
        assert secret not in everything
