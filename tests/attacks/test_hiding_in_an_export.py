"""An agent or an upstream writes what would forge, split or hide events at a collector."""

from __future__ import annotations

import json

import pytest
from export_kit import facts, outcome, told

from midflight.domain.decision import Reason
from midflight.wire.export import cef, syslog
from midflight.wire.export.lines import Form, line

FORGED = (
    "x\nCEF:0|Midflight|Midflight|1|outcome.done|Action done|1|suid=spiffe://other outcome=success"
)
TRICKS = (
    FORGED,
    "x outcome=success suid=spiffe://example.org/agents/other",
    "x|10|act=done",
    "x\\|y\\=z\\",
    "\x1b[2J\x1b[H gone",
    "x\r\n<13>1 2026-01-01T00:00:00Z host other 1 - - all is well",
    "x\x85y\u2028z\u2029w\x0b\x0c\x1c",
    "12 <13>1 - - - - - -",
    "a" * 1_000_000,
)


@pytest.mark.parametrize("words", TRICKS, ids=range(len(TRICKS)))
@pytest.mark.parametrize("form", Form)
def test_an_event_stays_one_line_about_who_did_it(words: str, form: Form) -> None:
    record = outcome(facts=facts(words), reasons=(Reason(policy="p", text=words),))
    text = line(told(record), form)
    assert len(text.splitlines()) == 1
    assert "\x1b" not in text
    assert len(text) < 16_384
    if form is Form.OCSF:
        event = json.loads(text)
        assert event["actor"]["user"]["uid"].endswith("/agents/one")
        assert event["status_id"] == 2
    else:
        assert text.count(" outcome=failure ") == 1
        assert " outcome=success" not in text.replace("\\=", "").replace("outcome\\", "")


@pytest.mark.parametrize("words", TRICKS, ids=range(len(TRICKS)))
def test_a_frame_holds_one_message(words: str) -> None:
    event = told(outcome(facts=facts(words)))
    message = syslog.message(event, cef.line(event), host="host", process=1)
    framed = syslog.framed([message])
    length, _, rest = framed.partition(b" ")
    assert int(length) == len(rest)
    assert b"\n" not in rest
    assert rest.startswith(b"<109>1 ")
