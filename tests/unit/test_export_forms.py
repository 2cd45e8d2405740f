"""CEF, syslog and OpenTelemetry: what is written can be read back, whatever was said."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from export_kit import AT, WORKLOAD, facts, kind_of, outcome, records, told
from hypothesis import given
from hypothesis import strategies as st

from midflight.domain.decision import Reason
from midflight.domain.records import Changed, Observed, Record, Terminal
from midflight.wire.export import cef, otel, syslog
from midflight.wire.export.bounding import MAX_ITEMS, MAX_TEXT, bounded
from midflight.wire.export.telling import Place, tell, tell_damage

ANY_TEXT = st.text(max_size=200)


def read_cef(line: str) -> tuple[list[str], dict[str, str]]:
    """A CEF line as a collector reads it: written from the format, not from our writer."""
    parts = re.split(r"(?<!\\)(?:\\\\)*\|", line, maxsplit=7)
    pairs = re.findall(r"(\w+)=((?:\\.|[^=\\])*?)(?= \w+=|\Z)", parts[7], flags=re.DOTALL)
    plain = {name: re.sub(r"\\(.)", _unescape, value) for name, value in pairs}
    return [re.sub(r"\\(.)", r"\1", part) for part in parts[:7]], plain


def _unescape(found: re.Match[str]) -> str:
    return "\n" if found[1] == "n" else found[1]


@pytest.mark.parametrize("record", records(), ids=kind_of)
def test_every_kind_is_one_line_of_cef(record: Record) -> None:
    line = cef.line(told(record))
    header, fields = read_cef(line)
    assert len(line.splitlines()) == 1
    assert header[:3] == ["CEF:0", "Midflight", "Midflight"]
    assert fields["externalId"] == "abcd1234-7"
    assert fields["rt"] == str(int(AT * 1_000))


def test_a_refusal_in_cef_says_who_what_and_why() -> None:
    header, fields = read_cef(cef.line(told(outcome())))
    assert header[4:] == ["outcome.denied", "Action refused", "4"]
    assert fields["suid"] == WORKLOAD
    assert (fields["destinationServiceName"], fields["request"]) == ("mail", "send")
    assert fields["reason"] == "policy: standard/origin: From nowhere."
    assert fields["outcome"] == "failure"


@given(name=ANY_TEXT, why=ANY_TEXT)
def test_no_text_begins_a_field_or_a_line(name: str, why: str) -> None:
    record = outcome(facts=facts(name), reasons=(Reason(policy="p", text=why),))
    line = cef.line(told(record))
    header, fields = read_cef(line)
    assert len(line.splitlines()) == 1
    assert header[4:] == ["outcome.denied", "Action refused", "4"]
    assert set(fields) <= {
        *("rt", "externalId", "cat", "outcome", "act", "reason", "msg", "suid", "suser", "shost"),
        *("destinationServiceName", "request", "requestMethod", "cn1", "cn1Label"),
        *(f"cs{n}{end}" for n in range(1, 7) for end in ("", "Label")),
    }
    assert fields["suid"] == WORKLOAD


def test_a_syslog_message_is_as_rfc_5424_says() -> None:
    event = told(outcome(Terminal.INTERRUPTED))
    text = syslog.message(event, "body\nof two lines", host="höst name", process=12).decode()
    assert text.startswith("<107>1 2026-09-21T14:13:20.250000Z h-st-name midflight 12 outcome - ")
    assert text.endswith(" body of two lines")


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_frames_can_be_told_apart(messages: list[bytes]) -> None:
    rest, found = syslog.framed(messages), list[bytes]()
    while rest:
        length, _, rest = rest.partition(b" ")
        found.append(rest[: int(length)])
        rest = rest[int(length) :]
    assert found == messages


def attributes(record: Record) -> dict[str, Any]:
    return {each.key: each.value for each in otel.log_record(told(record)).attributes}


@pytest.mark.parametrize("record", records(), ids=kind_of)
def test_every_kind_is_a_log_record(record: Record) -> None:
    made = otel.log_record(told(record))
    assert made.event_name == f"midflight.{kind_of(record)}"
    assert made.time_unix_nano == int(AT * 1e9)
    assert made.severity_number > 0
    assert made.body.string_value


def test_a_tool_call_follows_the_conventions() -> None:
    found = attributes(outcome())
    assert found["mcp.method.name"].string_value == "tools/call"
    assert found["gen_ai.operation.name"].string_value == "execute_tool"
    assert found["gen_ai.tool.name"].string_value == "send"
    assert found["gen_ai.agent.id"].string_value == WORKLOAD
    assert found["gen_ai.conversation.id"].string_value == "run_1"
    assert found["error.type"].string_value == "policy"


def test_what_is_no_tool_call_executes_no_tool() -> None:
    prompt = attributes(outcome(facts=facts("daily", method="prompts/get")))
    resource = attributes(outcome(facts=facts("file:///x", method="resources/read")))
    assert prompt["gen_ai.prompt.name"].string_value == "daily"
    assert not {"gen_ai.operation.name", "gen_ai.tool.name"} & prompt.keys()
    assert not {"gen_ai.tool.name", "gen_ai.prompt.name", "mcp.resource.uri"} & resource.keys()


@pytest.mark.parametrize("record", records(), ids=kind_of)
def test_nothing_sealed_is_told(record: Record) -> None:
    event = told(record)
    whole = msgspec.json.encode(event) + cef.line(event).encode()
    whole += otel.log_record(event).SerializeToString()
    assert b"sealed arguments" not in whole
    assert b"dGhlIHNlYWxlZCBhcmd1bWVudHM" not in whole  # the same in base64


def test_long_texts_are_clipped_and_say_so() -> None:
    details = {"long": "x" * 5_000, "many": list(range(500)), "deep": [[[[[[[["end"]]]]]]]]}
    event = told(Changed(at=AT, what="w" * 5_000, author="olivia", proof="p", details=details))
    assert len(event.message) == MAX_TEXT
    assert event.message.endswith("…")
    kept = event.details["details"]
    assert len(kept["long"]) == MAX_TEXT
    assert len(kept["many"]) == MAX_ITEMS


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | ANY_TEXT,
        lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner),
        max_leaves=30,
    )
)
def test_any_details_can_be_written(details: Any) -> None:
    record = Observed(at=AT, what="w", subject="s", details={"any": details})
    place = Place(record="a-1", kind="observed", position=1)
    event = tell(place, record)
    assert event is not None
    assert len(cef.line(event).splitlines()) == 1
    otel.log_record(event).SerializeToString()
    assert bounded(bounded(details)) == bounded(details)


def test_damage_is_told_as_the_worst() -> None:
    event = tell_damage(Place(record="", kind="", position=9), "row 9 is no entry", at=AT)
    header, fields = read_cef(cef.line(event))
    assert header[6] == "10"
    assert fields["msg"] == "row 9 is no entry"
