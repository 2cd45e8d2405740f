"""What an upstream or an agent would do to get past `@redact` and `@mask`."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from midflight.domain.action import Action, ActionKind
from midflight.domain.decision import Deny, DenyCode, Obligation, Permit, Reason
from midflight.domain.errors import Conflict
from midflight.domain.labels import BOTTOM, Confidentiality, Labels
from midflight.domain.obligation import REDACTED
from midflight.domain.records import Intent, Outcome
from midflight.domain.traits import Effect, FieldKind, Reach, Traits, Yield
from midflight.services.guard import Performed, Refused
from midflight.services.ports.upstream import Reply
from midflight.testing import (
    OPERATOR,
    WORKLOAD,
    FixedEngine,
    ListSink,
    MemoryPlane,
    ScriptedUpstream,
    call,
    caller,
)

pytestmark = pytest.mark.anyio

SECRET = "4929-1337-8080-2222"
SCHEMA = {"type": "object", "additionalProperties": True}
REVIEWED = Traits(
    effect=Effect.READ,
    reach=Reach.CLOSED,
    reviewed=True,
    yields=(
        Yield(path="$.rows[*].card", kind=FieldKind.SYSTEM, confidentiality=Confidentiality.SECRET),
        Yield(path="$.health", kind=FieldKind.SYSTEM, compartments=frozenset({"medical"})),
    ),
)
UNREVIEWED_FIELDS = Traits(effect=Effect.READ, reach=Reach.CLOSED, reviewed=True)


async def plane_under(
    *obligations: tuple[str, str], traits: Traits = REVIEWED
) -> tuple[MemoryPlane, str]:
    owed = tuple(Obligation(name=name, value=value) for name, value in obligations)
    permit = Permit(version="v", reasons=(Reason(policy="p"),), obligations=owed)
    plane = MemoryPlane(
        upstream=ScriptedUpstream("one", [{"name": "look", "inputSchema": SCHEMA}]),
        engine=FixedEngine(lambda _: permit),
        reach=Reach.CLOSED,
    )
    await plane.start()
    await plane.pin("look", traits)
    workload = plane.inventory.current(WORKLOAD)
    assert workload is not None
    run = await plane.runs.open_run(workload=workload, intent="Look.", author=OPERATOR)
    return plane, run.id


async def looked(plane: MemoryPlane, run: str, reply: Reply, **arguments: Any) -> Performed:
    async def say(action: Any, flight: Any, sink: Any) -> Reply:
        return reply

    plane.upstream.scripts["look"] = say
    done = await plane.guard.perform(call("look", **arguments), caller(run), sink=ListSink())
    assert isinstance(done, Performed), done
    return done


def of(structured: Any, *texts: str, **more: Any) -> Reply:
    result: dict[str, Any] = {"content": [{"type": "text", "text": t} for t in texts], **more}
    if structured is not None:
        result["structuredContent"] = structured
    return Reply(result=result)


def rows(card: Any = SECRET) -> dict[str, Any]:
    return {"rows": [{"id": 7, "name": "Ann", "card": card}]}


async def labels(plane: MemoryPlane, run: str) -> Labels:
    stored = await plane.store.get_run(run)
    assert stored is not None
    return stored.labels


SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in json": lambda s: json.dumps({"rows": [{"card": s}]}),
    "in a sentence": lambda s: f"The card is {s}, as you know.",
    "without dashes": lambda s: s.replace("-", ""),
    "with spaces": " ".join,
    "with an invisible joint": "\u200b".join,
    "in wide letters": lambda s: s.translate({c: c + 0xFEE0 for c in range(0x30, 0x3A)}),
    "in base64": lambda s: base64.b64encode(s.encode()).decode(),
    "in base64 in a sentence": lambda s: f"see {base64.b64encode(b'a' + s.encode()).decode()} ok",
    "in base64 twice": lambda s: base64.b64encode(base64.b64encode(s.encode())).decode(),
    "in hex": lambda s: s.encode().hex(),
    "in percent escapes": lambda s: "".join(f"%{ord(c):02x}" for c in s),
    "in html escapes": lambda s: "".join(f"&#{ord(c)};" for c in s),
    "in json escapes": lambda s: "".join(f"\\u{ord(c):04x}" for c in s),
    "backwards": lambda s: s[::-1],
    "in json in json": lambda s: json.dumps({"x": json.dumps({"y": s})}),
    "as a key": lambda s: json.dumps({s: 1}),
    "as the first of two members": lambda s: f'{{"card": "{s}", "card": "x"}}',
}


def tells(said: Any) -> bool:
    """Whether a delivered value holds the secret in one of the spellings."""
    text = json.dumps(said, ensure_ascii=False)
    return any(spell(SECRET) in text for spell in SPELLINGS.values()) or SECRET in json.dumps(
        said
    ).encode().decode("unicode_escape")


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("where", ["beside", "inside", "meta", "resource", "link"])
async def test_a_redacted_value_does_not_come_through_in_another_spelling(
    spelling: str, where: str
) -> None:
    plane, run = await plane_under(("redact", "secret"))
    spelt = SPELLINGS[spelling](SECRET)
    said = rows()
    reply = of(said, "Done.")
    assert reply.result is not None
    match where:
        case "beside":
            reply = of(said, spelt)
        case "inside":
            reply = of({**said, "summary": spelt}, "Done.")
        case "meta":
            reply.result["_meta"] = {"x": {"y": spelt}}
        case "resource":
            inner = {"uri": "file:///x", "text": spelt}
            reply.result["content"].append({"type": "resource", "resource": inner})
        case _:
            link = {"type": "resource_link", "uri": f"https://x/{spelt}", "name": spelt}
            reply.result["content"].append(link)
    done = await looked(plane, run, reply)
    assert not tells(done.reply.result)
    assert done.reply.result is not None
    structured = done.reply.result["structuredContent"]
    assert structured["rows"] == [{"id": 7, "name": "Ann", "card": REDACTED}]


async def test_text_that_repeats_the_structure_is_rewritten_and_stays_json() -> None:
    plane, run = await plane_under(("redact", "secret"))
    done = await looked(plane, run, of(rows(), json.dumps(rows())))
    assert done.reply.result is not None
    assert json.loads(done.reply.result["content"][0]["text"]) == rows(REDACTED)
    assert done.reply.result["_meta"]["dev.midflight/redacted"]["labels"] == ["secret"]


async def test_a_number_becomes_null_where_it_stands_and_in_the_text() -> None:
    plane, run = await plane_under(("redact", "secret"))
    done = await looked(plane, run, of(rows(4929133780802222), json.dumps(rows(4929133780802222))))
    assert done.reply.result is not None
    assert done.reply.result["structuredContent"] == rows(None)
    assert json.loads(done.reply.result["content"][0]["text"]) == rows(None)


@pytest.mark.parametrize(
    "reply",
    [
        of(None, f"Ann's card: {SECRET}"),
        of({"rows": []}, f"Ann's card: {SECRET}"),
        of(rows("42"), "The number is forty-two."),
        Reply(result=None, error={"code": -1, "message": f"bad card {SECRET}"}),
        of(None, f"cannot charge {SECRET}", isError=True),
        Reply(result={"content": [{"type": "image", "data": SECRET, "mimeType": "image/png"}]}),
        Reply(
            result={
                "content": [{"type": "resource", "resource": {"uri": "file:///x", "blob": SECRET}}]
            }
        ),
    ],
    ids=["prose", "prose beside less", "a short value", "error", "isError", "image", "blob"],
)
async def test_what_cannot_be_told_apart_goes_as_a_whole(reply: Reply) -> None:
    plane, run = await plane_under(("redact", "secret"))
    done = await looked(plane, run, reply)
    said = json.dumps([done.reply.result, done.reply.error])
    assert SECRET not in said
    assert "forty" not in said
    assert REDACTED in said


@pytest.mark.parametrize(
    "said",
    [
        {"password": SECRET},
        {"login": {"api_key": SECRET}},
        {"credentials": [{"user": "ann", "value": SECRET}]},
        {"text": json.dumps({"accessKey": SECRET})},
    ],
)
async def test_fields_that_are_called_like_secrets_go_without_a_review(said: Any) -> None:
    plane, run = await plane_under(("redact", "secret"), traits=UNREVIEWED_FIELDS)
    done = await looked(plane, run, of(said, json.dumps(said)))
    assert SECRET not in json.dumps(done.reply.result)


async def test_a_text_that_speaks_of_a_password_goes_though_nobody_reviewed_it() -> None:
    plane, run = await plane_under(("redact", "secret"), traits=UNREVIEWED_FIELDS)
    done = await looked(plane, run, of(None, f"The password is {SECRET}.", "Have a nice day."))
    assert done.reply.result is not None
    texts = [block["text"] for block in done.reply.result["content"]]
    assert texts == [REDACTED, "Have a nice day."]


async def test_a_whole_object_under_a_label_goes_with_all_its_parts() -> None:
    plane, run = await plane_under(("redact", "medical"))
    said = {"health": {"notes": [SECRET], "level": 31337, "ill": True}, "id": 1}
    done = await looked(plane, run, of(said, json.dumps(said)))
    assert done.reply.result is not None
    hidden = {"health": {"notes": [REDACTED], "level": None, "ill": None}, "id": 1}
    assert done.reply.result["structuredContent"] == hidden
    assert json.loads(done.reply.result["content"][0]["text"]) == hidden


async def test_whatever_is_too_deep_to_look_at_goes() -> None:
    plane, run = await plane_under(("redact", "secret"))
    deep: Any = {"rows": [{"card": SECRET}]}
    for _ in range(80):
        deep = {"x": deep}
    done = await looked(plane, run, of(deep))
    assert SECRET not in json.dumps(done.reply.result)


@pytest.mark.parametrize("how", ["progress", "message", "question"])
async def test_nothing_is_said_early_that_may_not_be_said_in_the_end(how: str) -> None:
    plane, run = await plane_under(("redact", "secret"))
    sink = ListSink(answers=[{"action": "decline"}], capabilities={"elicitation": {"form": {}}})

    async def leak(action: Any, flight: Any, out: Any) -> Reply:
        if how == "progress":
            params = {"progress": 1, "message": f"found {SECRET}"}
            await out.notify("notifications/progress", params)
        elif how == "message":
            await out.notify("notifications/message", {"level": "info", "data": rows()})
        else:
            from midflight.services.ports.upstream import ClientRequest  # noqa: PLC0415

            ask = {"message": f"is it {SECRET}?", "requestedSchema": {"type": "object"}}
            await out.ask(ClientRequest(key="q", method="elicitation/create", params=ask))
        return of(rows())

    plane.upstream.scripts["look"] = leak
    await plane.guard.perform(call("look"), caller(run), sink=sink)
    heard = [params for _, params in sink.notified] + [asked.params for asked in sink.asked]
    assert heard
    assert SECRET not in json.dumps(heard)


async def test_a_log_line_beside_the_call_says_no_more_than_its_result() -> None:
    plane, run = await plane_under(("redact", "secret"))
    done = await looked(plane, run, of(rows()))
    assert SECRET not in json.dumps(done.reply.result)
    line = {"level": "debug", "data": {"sent": rows(), "text": f"card={SECRET}"}}
    passed = await plane.guard.observing.notice(run, "one", "notifications/message", line)
    assert SECRET not in json.dumps(passed)
    assert passed["level"] == "debug"
    other = await plane.runs.open_run(
        workload=await plane.inventory.get(WORKLOAD), intent="Look.", author=OPERATOR
    )
    said = {"level": "info", "data": "ready"}
    heard = await plane.guard.observing.notice(other.id, "one", "notifications/message", said)
    assert heard == said


async def test_what_is_said_to_a_run_that_is_over_is_not_passed_on() -> None:
    plane, run = await plane_under()
    await plane.runs.close_run(run, author=OPERATOR)
    with pytest.raises(Conflict):
        await plane.guard.observing.notice(run, "one", "notifications/message", {"data": "x"})


@pytest.mark.parametrize("form", ["asked", "unasked"])
async def test_a_task_is_no_way_to_the_result(form: str) -> None:
    plane, run = await plane_under(("redact", "secret"))
    if form == "asked":
        action = Action(
            kind=ActionKind.CALL_TOOL,
            upstream="one",
            name="look",
            method="tools/call",
            params={"task": {"ttl": 1000}},
        )
        refused = await plane.guard.perform(action, caller(run), sink=ListSink())
        assert isinstance(refused, Refused)
        assert refused.decision.reasons[0].policy == "midflight:obligation"
        assert plane.upstream.received == []
        return
    handle = Reply(result={"resultType": "task", "task": {"taskId": "t-1", "status": "working"}})
    done = await looked(plane, run, handle)
    assert done.reply.result is not None
    assert done.reply.result["isError"] is True
    assert "t-1" not in json.dumps(done.reply.result)


async def test_an_effect_whose_task_is_not_delivered_was_done_all_the_same() -> None:
    traits = Traits(effect=Effect.WRITE, reach=Reach.CLOSED, reviewed=True)
    plane, run = await plane_under(("redact", "secret"), traits=traits)
    await looked(plane, run, Reply(result={"resultType": "task", "task": {"taskId": "t-1"}}))
    live = plane.runs.live(run)
    assert live is not None
    assert (await plane.flow.ready(live)).done == {("one", "look"): 1}


# What the run never saw it does not carry


async def test_a_run_does_not_carry_the_label_of_what_was_taken_out() -> None:
    for redacts, expected in ((True, BOTTOM), (False, Confidentiality.SECRET)):
        owed = [("redact", "secret")] if redacts else []
        plane, run = await plane_under(*owed)
        await looked(plane, run, of(rows(), json.dumps(rows())))
        found = await labels(plane, run)
        assert found == expected if redacts else found.confidentiality is expected


async def test_a_marker_that_an_upstream_forges_hides_no_label() -> None:
    plane, run = await plane_under()
    await looked(plane, run, of(rows(f"{REDACTED} {SECRET}")))
    assert (await labels(plane, run)).confidentiality is Confidentiality.SECRET


# Labels that an upstream would like to lose


@pytest.mark.parametrize(
    "reply",
    [
        of(rows(), "and something else"),
        of(None, json.dumps(rows()), "and something else"),
        of({"rows": [{"card": {"number": SECRET}}]}),
        of({"rows": [{"card": [SECRET]}]}),
    ],
    ids=["beside a text", "in one of two texts", "in an object", "in a list"],
)
async def test_a_reviewed_label_is_not_lost_in_another_shape(reply: Reply) -> None:
    plane, run = await plane_under()
    await looked(plane, run, reply)
    assert (await labels(plane, run)).confidentiality is Confidentiality.SECRET


# Masks


async def arguments_of(plane: MemoryPlane) -> list[Any]:
    return [
        await plane.sealer.open(record.arguments)
        for record in await plane.records()
        if isinstance(record, Intent | Outcome) and record.arguments is not None
    ]


async def test_a_masked_argument_is_sent_whole_and_recorded_nowhere() -> None:
    plane, run = await plane_under(("mask", "args.card"), ("mask", "args.more[*].pin"))
    more = [{"pin": 1234, "who": "ann"}]
    await looked(plane, run, of({}), card=SECRET, more=more)
    assert plane.upstream.received[-1].arguments == {"card": SECRET, "more": more}
    kept = {"card": "****2222", "more": [{"pin": "****", "who": "ann"}]}
    assert await arguments_of(plane) == [[kept, {}]]


async def test_what_a_limit_refuses_is_masked_in_its_record_too() -> None:
    plane, run = await plane_under(("mask", "args.card"), ("limit", "1/m"))
    await looked(plane, run, of({}), card=SECRET)
    again = await plane.guard.perform(call("look", card=SECRET), caller(run), sink=ListSink())
    assert isinstance(again, Refused)
    assert await arguments_of(plane) == [[{"card": "****2222"}, {}]] * 2


async def test_a_mask_on_results_shows_the_end_only() -> None:
    plane, run = await plane_under(("mask", "result.rows[*].card"))
    done = await looked(plane, run, of(rows(), json.dumps(rows()), f"Card {SECRET}."))
    assert done.reply.result is not None
    assert done.reply.result["structuredContent"] == rows("****2222")
    texts = [block["text"] for block in done.reply.result["content"]]
    assert json.loads(texts[0]) == rows("****2222")
    assert texts[1] == "Card ****2222."


async def test_a_question_to_a_person_shows_no_masked_value() -> None:
    from midflight.domain.decision import Challenge  # noqa: PLC0415

    plane, run = await plane_under()
    mask = (Obligation(name="mask", value="args.card"),)
    challenge = Challenge(version="v", reasons=(Reason(policy="p"),), obligations=mask)
    plane.engine.ask = lambda _: challenge  # type: ignore[attr-defined]
    await plane.guard.perform(call("look", card=SECRET), caller(run), sink=ListSink())
    assert await arguments_of(plane) == [[{"card": "****2222"}, {}]]


# Obligations that nobody understands


@pytest.mark.parametrize(
    "obligation",
    [("lease", "mail"), ("redact", "no such label!"), ("redact", "public"), ("mask", "card"),
     ("limit", "often"), ("log", "some"), ("encrypt", "all")],
)  # fmt: skip
async def test_what_is_not_understood_lets_nothing_pass(obligation: tuple[str, str]) -> None:
    plane, run = await plane_under(obligation, ("log", "full"))
    refused = await plane.guard.perform(call("look"), caller(run), sink=ListSink())
    assert isinstance(refused, Refused)
    assert isinstance(refused.decision, Deny)
    assert refused.decision.code is DenyCode.POLICY_ERROR
    assert obligation[0] in refused.decision.reasons[0].text
    assert plane.upstream.received == []


# The full log


async def test_the_full_log_keeps_what_was_delivered_and_not_what_was_taken_out() -> None:
    plane, run = await plane_under(("log", "full"), ("redact", "secret"))
    await looked(plane, run, of(rows()))
    [outcome] = [r for r in await plane.records() if isinstance(r, Outcome)]
    assert outcome.result is not None
    kept = await plane.sealer.open(outcome.result)
    assert isinstance(kept, dict)
    assert kept["structuredContent"] == rows(REDACTED)


async def test_a_result_of_any_length_is_kept_within_bounds_and_says_so() -> None:
    plane, run = await plane_under(("log", "full"))
    await looked(plane, run, of(None, "x" * 1_000_000))
    [outcome] = [r for r in await plane.records() if isinstance(r, Outcome)]
    assert outcome.result is not None
    kept = await plane.sealer.open(outcome.result)
    assert isinstance(kept, dict)
    assert kept["truncated"] is True
    assert kept["bytes"] > 1_000_000
    assert len(outcome.result.box) < 100_000
