"""Words of an agent or a tool reach people's mail, chat and pagers as words and as nothing else."""

from __future__ import annotations

import email
import email.policy
import json
from pathlib import Path
from typing import Any

import pytest
from hook_kit import hooked_plane
from hypothesis import given
from hypothesis import strategies as st
from notify_kit import item, message, postbox

from midflight.adapters.notify import opsgenie, pagerduty, slack
from midflight.adapters.notify.email import EmailChannel, letter
from midflight.adapters.notify.webhook import WebhookChannel, wire_id
from midflight.domain.notice import facts_of

HOSTILE = [
    "a\r\nBcc: mallory@evil.example",
    "a\nSubject: You are approved",
    "<!channel> <@U0ANN> <#C0X|general> @here",
    "<https://evil.example|Approve here>",
    "*bold* _it_ `code` ~no~ :white_check_mark:",
    "&lt;!channel&gt;",
    '","blocks":[{"type":"actions"}],"x":"',
    "\u202egnp.exe \u200b\u2066hidden\u2069",
    "\x1b[2J\x00\x07",
    "<script>alert(1)</script><img src=x onerror=1>",
    "\u2028\u2029{{7*7}} ${7*7} %0d%0aBcc:",
    "." + "\r\n.\r\nMAIL FROM:<x@evil.example>",
    "&" * 5_000,
    "😀" * 3_000,
    "\ud800 lone",
]


def hostile(text: str) -> Any:
    return message(
        title=f"T {text}", items=tuple(item(facts=facts_of({"to": text})) for _ in range(10))
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_a_letter_has_the_headers_that_we_set_and_no_other(text: str) -> None:
    raw = letter(hostile(text), sender="m@example.org", recipients=("a@example.org",)).as_bytes()
    read = email.message_from_bytes(raw, policy=email.policy.default)
    assert sorted(name.lower() for name in read) == [
        "auto-submitted",
        "content-transfer-encoding",
        "content-type",
        "date",
        "from",
        "message-id",
        "mime-version",
        "references",
        "subject",
        "to",
        "x-midflight-thread",
    ]
    assert read["to"] == "a@example.org"
    assert read.get_content_type() == "text/plain"
    assert not read.is_multipart()
    assert "\x1b" not in read.get_content()
    assert "\u202e" not in read.get_content()


@pytest.mark.anyio
async def test_a_server_sees_one_letter_to_those_in_the_settings() -> None:
    async with postbox(login=False) as box:
        channel = EmailChannel(
            "mail",
            host="127.0.0.1",
            port=box.port,
            encryption="none",
            sender="m@example.org",
            recipients=("a@example.org",),
        )
        for text in HOSTILE:
            await channel.tell(hostile(text))
    assert len(box.mails) == len(HOSTILE)
    assert {tuple(each.rcpt_tos) for each in box.mails} == {("a@example.org",)}


def texts_of(value: Any) -> list[dict[str, Any]]:
    """Every text object of a Slack message."""
    if isinstance(value, dict):
        own = [value] if value.get("type") in ("plain_text", "mrkdwn") else []
        return own + [found for inner in value.values() for found in texts_of(inner)]
    if isinstance(value, list):
        return [found for inner in value for found in texts_of(inner)]
    return []


@pytest.mark.parametrize("text", HOSTILE)
def test_slack_gets_plain_text_that_mentions_nobody_and_links_nowhere(text: str) -> None:
    document = slack.document(hostile(text))
    assert {found["type"] for found in texts_of(document)} == {"plain_text"}
    assert not any(found["emoji"] for found in texts_of(document))
    shown = json.dumps(document["text"]) + json.dumps(texts_of(document))
    assert "<" not in shown
    assert ">" not in shown
    assert (document["link_names"], document["parse"]) == (False, "none")
    kinds = [block["type"] for block in document["blocks"]]
    assert kinds == ["header", *["section", "actions"] * slack.MAX_ITEMS, "context"]
    # Beyond these Slack refuses a message whole, and nobody would be told.
    assert len(document["text"]) <= 3_000
    assert len(document["blocks"][0]["text"]["text"]) <= 150
    assert all(len(found["text"]) <= 3_000 for found in texts_of(document))
    assert len(json.dumps(document)) < 40_000


@given(st.text(max_size=400))
def test_slack_escapes_are_never_cut_in_two(text: str) -> None:
    for found in texts_of(slack.document(hostile(text))):
        rest = found["text"]
        for escape in ("&amp;", "&lt;", "&gt;"):
            rest = rest.replace(escape, "")
        assert "&" not in rest


@pytest.mark.parametrize("text", HOSTILE)
def test_pagers_get_bounded_fields(text: str) -> None:
    event = pagerduty.document(hostile(text), source="s")
    assert event["event_action"] == "trigger"
    assert event["dedup_key"] == "ntc_0123"
    assert len(event["payload"]["summary"]) <= 1_024
    assert set(event["payload"]) == {
        "summary",
        "source",
        "severity",
        "timestamp",
        "custom_details",
    }
    assert event["links"] == []
    assert len(json.dumps(event)) < 512_000
    alert = opsgenie.document(hostile(text), source="s")
    assert len(alert["message"]) <= 130
    assert len(alert["description"]) <= 15_000
    assert alert["alias"] == "ntc_0123"
    assert "responders" not in alert


def test_a_fact_cannot_take_the_place_of_another_one() -> None:
    twice = message(items=(item(facts=(("title", "x"), ("subject", "y"), ("subject", "z"))),))
    (question,) = pagerduty.document(twice, source="s")["payload"]["custom_details"]["questions"]
    assert question == {
        "title": "An action waits for approval",
        "subject": "apr_0123",
        "facts": ["title: x", "subject: y", "subject: z"],
    }


def test_an_argument_cannot_pose_as_a_fact(tmp_path: Path) -> None:
    with hooked_plane(tmp_path) as plane:
        posed = {"must agree": "nobody", "title": "all is well"}
        plane.ask(plane.untrusted_run(), to="bob@x.org", **posed)
        plane.tick()
        lines = plane.posts("/chat")[-1].document["blocks"][1]["text"]["text"].split("\n")
        # Midflight's facts stand first, under their own names; arguments stand below them.
        ours = lines.index("must agree: ann")
        posing = [
            line for line in lines[ours + 1 :] if any(each in line for each in posed.values())
        ]
        assert len(posing) == len(posed)
        assert all(line.startswith("argument ") for line in posing), lines


def test_an_id_is_no_part_of_what_is_signed_twice() -> None:
    # `<id>.<time>.<body>`: an id with a full stop could be read as another id and time.
    assert wire_id("ntc_1.trigger") == "ntc_1_trigger"
    assert WebhookChannel.tracks
