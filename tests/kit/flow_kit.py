"""An invented office behind the real guard and the standard pack, for tests of information flow.

One upstream with a mailbox, a calendar, payments, documents and the web. What is in it the test
says; everything else (labels, index, intent, Cedar, records) is the real thing.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import midflight
from midflight.adapters.policy.cedar import CedarEngine
from midflight.adapters.policy.compiler import CedarCompiler
from midflight.domain.action import Action
from midflight.domain.decision import Challenge, Decision
from midflight.domain.flow import fields
from midflight.domain.flow.fields import Leaf
from midflight.domain.flow.index import RunIndex
from midflight.domain.flow.intent import read
from midflight.domain.flow.judge import judge
from midflight.domain.flow.selecting import linked_records
from midflight.domain.flow.subject import Circumstances, Subject, subject
from midflight.domain.provenance import Concern, FlowFacts
from midflight.domain.records import Outcome, Terminal
from midflight.domain.traits import Argument, Effect, FieldKind, Reach, Role, Traits, Yield
from midflight.services.guard import Performed, Refused
from midflight.services.policy_files import read_sources
from midflight.services.ports.upstream import Reply
from midflight.testing import OPERATOR, WORKLOAD, ListSink, MemoryPlane, ScriptedUpstream, caller
from midflight.testing import call as action_of

STANDARD = Path(midflight.__file__).parent / "policies" / "standard"
STRING = {"type": "string"}
STRINGS = {"type": "array", "items": STRING}


def _tool(
    effect: Effect,
    reach: Reach,
    says: str,
    *,
    texts: Sequence[str] = (),
    persists: bool = True,
    **arguments: tuple[Role, Mapping[str, Any]],
) -> tuple[str, Traits, dict[str, Any]]:
    traits = Traits(
        effect=effect,
        reach=reach,
        reviewed=True,
        arguments=tuple(Argument(path=name, role=role) for name, (role, _) in arguments.items()),
        yields=tuple(Yield(path=path, kind=FieldKind.TEXT) for path in texts),
        persists=persists,
    )
    properties = {name: dict(schema) for name, (_, schema) in arguments.items()}
    return says, traits, {"type": "object", "properties": properties}


READ, WRITE, SEND, PAY = Effect.READ, Effect.WRITE, Effect.SEND, Effect.PAY
OPEN, CLOSED = Reach.OPEN, Reach.CLOSED
TOOLS = {
    "read_mail": _tool(READ, CLOSED, "Read the mails.", texts=["$..body", "$..subject"]),
    "send_mail": _tool(
        SEND,
        OPEN,
        "Send a mail.",
        persists=False,
        recipients=(Role.RECIPIENT, STRINGS),
        subject=(Role.TITLE, STRING),
        body=(Role.CONTENT, STRING),
    ),
    "list_events": _tool(READ, CLOSED, "List the events of the calendar.", texts=["$..notes"]),
    "create_event": _tool(
        WRITE,
        OPEN,
        "Create an event.",
        title=(Role.TITLE, STRING),
        start=(Role.TIME, STRING),
        participants=(Role.RECIPIENT, STRINGS),
    ),
    "delete_event": _tool(
        Effect.DELETE, CLOSED, "Delete an event.", event_id=(Role.OBJECT, STRING)
    ),
    "list_payments": _tool(READ, CLOSED, "List the payments.", texts=["$..memo"]),
    "pay_bill": _tool(
        PAY,
        OPEN,
        "Pay a bill.",
        iban=(Role.ACCOUNT, STRING),
        amount=(Role.AMOUNT, {"type": "number"}),
        memo=(Role.CONTENT, STRING),
    ),
    "list_documents": _tool(READ, CLOSED, "List the documents.", texts=["$..comment"]),
    "read_document": _tool(READ, CLOSED, "Read a document.", name=(Role.PATH, STRING)),
    "write_document": _tool(
        WRITE, CLOSED, "Write a document.", name=(Role.PATH, STRING), text=(Role.CONTENT, STRING)
    ),
    "delete_document": _tool(Effect.DELETE, CLOSED, "Delete a document.", name=(Role.PATH, STRING)),
    "share_document": _tool(
        Effect.GRANT,
        CLOSED,
        "Share a document.",
        name=(Role.PATH, STRING),
        user=(Role.RECIPIENT, STRING),
    ),
    "read_profile": _tool(READ, CLOSED, "Read the profile of the account.", texts=["$..bio"]),
    "fetch_page": _tool(READ, OPEN, "Fetch a page.", url=(Role.URL, STRING)),
}


class Office:
    """The upstream's data, and the plane before it."""

    def __init__(self, *, sources: Mapping[str, Any], **plane: Any) -> None:
        self.sources = dict(sources)
        self.documents: dict[str, str] = dict(self.sources.pop("documents", {}))
        self.echoes = True
        served = [
            {"name": name, "description": says, "inputSchema": schema}
            for name, (says, _, schema) in TOOLS.items()
        ]
        self.upstream = ScriptedUpstream("one", served)
        for name in TOOLS:
            self.upstream.scripts[name] = self._answer
        pack = CedarCompiler().parse(read_sources(STANDARD))
        engine = CedarEngine(pack)
        self.plane = MemoryPlane(upstream=self.upstream, engine=engine, reach=CLOSED, **plane)
        self.plane.monitors.declare(pack.monitors)

    async def start(self, *, fresh: bool = True) -> None:
        await self.plane.start(register=fresh)
        if fresh:
            for name, (_, traits, _) in TOOLS.items():
                await self.plane.pin(name, traits)

    async def open(self, intent: str | None) -> str:
        workload = self.plane.inventory.current(WORKLOAD)
        assert workload is not None
        run = await self.plane.runs.open_run(workload=workload, intent=intent, author=OPERATOR)
        return run.id

    async def delegate(self, parent: str, text: str) -> str:
        child = await self.plane.delegation.delegate(
            parent, workload=WORKLOAD, text=text, author=OPERATOR
        )
        return child.id

    async def act(self, run: str | None, tool: str, **arguments: Any) -> Performed | Refused:
        return await self.do(run, action_of(tool, **arguments))

    async def do(self, run: str | None, action: Action) -> Performed | Refused:
        return await self.plane.guard.perform(action, caller(run), sink=ListSink())

    async def passes(self, run: str | None, tool: str, **arguments: Any) -> Any:
        """It is done, unasked; what came back."""
        done = await self.act(run, tool, **arguments)
        assert isinstance(done, Performed), done.decision
        return done.reply.result

    async def held(self, run: str | None, tool: str, *policies: str, **arguments: Any) -> Decision:
        """It is refused under these policies, a record says so, and nothing has left."""
        return await self.held_action(run, action_of(tool, **arguments), *policies)

    async def held_action(self, run: str | None, action: Action, *policies: str) -> Decision:
        left = len(self.upstream.received)
        refused = await self.do(run, action)
        assert isinstance(refused, Refused), refused
        assert len(self.upstream.received) == left
        said = [reason.policy.removeprefix("standard/") for reason in refused.decision.reasons]
        assert set(policies) <= set(said), said
        await self.plane.ledger.flush()
        tail = await self.plane.ledger.tail(1_000_000)
        record = next(entry.record for entry in tail if entry.id == refused.record)
        assert isinstance(record, Outcome)
        assert record.state is Terminal.DENIED
        kept = [reason.policy.removeprefix("standard/") for reason in record.reasons]
        assert set(policies) <= set(kept)
        return refused.decision

    async def _answer(self, action: Any, flight: Any, sink: Any) -> Reply:
        name, given = action.name, action.arguments
        source = self.sources.get(name)
        if name == "write_document":
            self.documents[given["name"]] = given["text"]
        if source is None and name == "read_document":
            source = {"text": self.documents[given["name"]]}
        if source is None:
            source = {"status": "done"}
        return Reply(result=source if "content" in source else structured(source))


@asynccontextmanager
async def office(plane: Mapping[str, Any] | None = None, **sources: Any) -> AsyncIterator[Office]:
    """An office with these answers of its tools, started and closed again."""
    made = Office(sources=sources, **(plane or {}))
    await made.start()
    try:
        yield made
    finally:
        await made.plane.close()


def structured(value: Any) -> dict[str, Any]:
    """A result as servers give it: the value, and the same as text."""
    text = {"type": "text", "text": json.dumps(value)}
    return {"structuredContent": value, "content": [text]}


def mails(*bodies: str, sender: str = "stranger@post.example") -> dict[str, Any]:
    """Mails of a stranger."""
    listed = [
        {"id": f"m-{n}", "sender": sender, "subject": "Hello", "body": body}
        for n, body in enumerate(bodies, 1)
    ]
    return {"mails": listed}


def asks(decision: Decision) -> bool:
    """Whether a refusal is a question to a person."""
    return isinstance(decision, Challenge)


# One module at a time, without a plane


class Desk:
    """An index, an intent and what has been done: what the judge looks at."""

    def __init__(self, intent: str, *, key: bytes = b"k" * 16) -> None:
        self.index = RunIndex(key)
        self.reading = read(intent)
        self.done = 0
        self.endorsed: set[str] = set()
        self.own: frozenset[str] = frozenset()
        self.gated = True

    def sees(
        self, value: Any, *, selected: bool = False, effect: bool = False, record: str = "r1"
    ) -> list[Leaf]:
        found = fields.leaves(value, effect=effect)
        linked = linked_records(found, self.reading)
        self.index.add(found, record=record, selected=selected, linked=linked)
        return found

    def judge(self, tool: Subject, **arguments: Any) -> FlowFacts:
        about = Circumstances(
            done=self.done, endorsed=self.endorsed.__contains__, own=self.own, gated=self.gated
        )
        return judge(tool, arguments, index=self.index, reading=self.reading, about=about)

    def concerns(self, tool: Subject, **arguments: Any) -> set[Concern]:
        return set(self.judge(tool, **arguments).concerns)


def office_tool(name: str) -> Subject:
    """A tool of the office as the judge sees it."""
    says, traits, _ = TOOLS[name]
    return subject(name, says, traits)
