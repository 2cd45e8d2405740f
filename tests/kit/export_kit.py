"""Records of every kind for tests of export, and what OCSF 1.8 says of events.

`ocsf_1_8.json` holds, of the schema's version 1.8.0, the attributes of the classes and objects that
Midflight writes: their types, enumerations, what is required and the constraints.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, get_args

from midflight.domain.decision import DenyCode, Reason
from midflight.domain.finding import Finding, Strength
from midflight.domain.identity import Workload
from midflight.domain.question import RunFacts, Source
from midflight.domain.records import (
    ApprovalAnswered,
    ApprovalAsked,
    ApprovalEnded,
    Changed,
    Facts,
    Found,
    Impact,
    Intent,
    IntentAdded,
    Issued,
    LabelRaised,
    LeaseMoved,
    Observed,
    Outcome,
    Record,
    Revoked,
    RunEnded,
    RunOpened,
    Sealed,
    Started,
    Terminal,
)
from midflight.domain.revocation import Scope, ScopeKind
from midflight.domain.tool import PinState
from midflight.domain.traits import Effect, Reach, Traits
from midflight.wire.export.telling import Place, Told, tell

SCHEMA = Path(__file__).parent.parent / "conformance" / "data" / "ocsf_1_8.json"
WORKLOAD = "spiffe://test.midflight.internal/agents/one"
SECRET = Sealed(key="run_1", nonce=b"n" * 12, box=b"the sealed arguments")
AT = 1_790_000_000.25
RUN = Scope(kind=ScopeKind.RUN, id="run_1")


def facts(name: str = "send", effect: Effect = Effect.SEND, method: str = "tools/call") -> Facts:
    """The facts of a call."""
    return Facts(
        kind="call_tool",
        method=method,
        upstream="mail",
        name=name,
        pin="p",
        pin_state=PinState.PINNED,
        traits=Traits(effect=effect, reach=Reach.OPEN, reviewed=True),
        workload=Workload(id=WORKLOAD, owner="team-one", escalation="oncall", review_by=1),
        run=RunFacts(id="run_1", has_intent=True, implicit=False, age_s=1, steps=1),
        source=Source(proof="bearer", peer="127.0.0.1"),
        at=int(AT),
    )


def outcome(state: Terminal = Terminal.DENIED, **more: Any) -> Outcome:
    """An outcome of a call that was not permitted."""
    return Outcome(
        at=AT,
        state=state,
        code=more.pop("code", DenyCode.POLICY if state is Terminal.DENIED else None),
        digest="d" * 64,
        facts=more.pop("facts", facts()),
        arguments=SECRET,
        reasons=more.pop("reasons", (Reason(policy="standard/origin", text="From nowhere."),)),
        **more,
    )


def records() -> Sequence[Record]:
    """One record of each kind at least, and each way in which an action can end."""
    finding = Finding(
        id="fnd_1",
        at=AT,
        detector="probing",
        strength=Strength.FAIR,
        seen="12 refusals in 60 s",
        workload=WORKLOAD,
        owner="team-one",
        run="run_1",
        upstream="mail",
        name="send",
    )
    made: list[Record] = [outcome(state) for state in Terminal]
    made += [outcome(facts=facts("x", effect)) for effect in Effect]
    made += [
        outcome(code=DenyCode.APPROVAL_REQUIRED),
        outcome(code=DenyCode.REVOKED),
        outcome(facts=None),
        Found(at=AT, finding=finding),
        Revoked(at=AT, revocation="rev_1", scope=RUN, reason="r", author="olivia", proof="p"),
        Revoked(
            at=AT, revocation="rev_2", scope=RUN, reason="r", author="o", proof="p", lifts="rev_1"
        ),
        Impact(
            at=AT,
            revocation="rev_1",
            scope=RUN,
            cut=("a-1",),
            completed=3,
            bytes_out={"mail": 9},
            unknown=(),
            took_us=12,
        ),
        RunOpened(
            at=AT,
            run="run_1",
            workload=WORKLOAD,
            author="olivia",
            proof="peer-uid:1000",
            implicit=False,
            intent=SECRET,
            expires_at=1,
            max_steps=2,
        ),
        IntentAdded(at=AT, run="run_1", author="olivia", proof="p", intent=SECRET),
        RunEnded(at=AT, run="run_1", state="closed", author="olivia", proof="p"),
        LabelRaised(at=AT, run="run_1", label="untrusted", source="a-1"),
        Changed(at=AT, what="tool.pin mail/send", author="olivia", proof="p", details={"a": 1}),
        Observed(at=AT, what="catalogue.drift", subject="mail", details={"tool": "send"}),
        Started(at=AT, version="0.1", policy="f" * 64),
        ApprovalAsked(
            at=AT,
            approval="apr_1",
            digest="d",
            run="run_1",
            workload=WORKLOAD,
            owner="team-one",
            upstream="mail",
            name="send",
            policies=("p",),
            approvers=("owner",),
            expires_at=1,
        ),
        ApprovalAnswered(
            at=AT,
            approval="apr_1",
            digest="d",
            run="run_1",
            yes=True,
            author="olivia",
            proof="p",
            stands_for=("owner",),
        ),
        ApprovalEnded(at=AT, approval="apr_1", digest="d", run="run_1", state="expired"),
        Issued(
            at=AT,
            what="access-token",
            id="jti_1",
            subject=WORKLOAD,
            run="run_1",
            expires_at=1,
            proof="p",
        ),
        LeaseMoved(
            at=AT,
            lease="lse_1",
            credential="db",
            backend="postgres",
            external="role",
            run="run_1",
            workload=WORKLOAD,
            state="active",
            expires_at=1,
            stuck=True,
        ),
    ]
    return made


def kind_of(record: Record) -> str:
    """A record's tag."""
    return str(record.__struct_config__.tag)


def told(record: Record, *, position: int = 7) -> Told:
    """What is told of a record."""
    place = Place(record=f"abcd1234-{position}", kind=kind_of(record), position=position)
    found = tell(place, record, facts())
    assert found is not None
    return found


def untold() -> frozenset[str]:
    """Tags of the records of which `records` has none."""
    have = {kind_of(record) for record in records()} | {kind_of_type(Intent)}
    return frozenset(kind_of_type(kind) for kind in get_args(Record)) - have


def kind_of_type(kind: Any) -> str:
    """The tag of a type of records."""
    return str(kind.__struct_config__.tag)


# OCSF


@cache
def schema() -> dict[str, Any]:
    """The extract of the schema."""
    return json.loads(SCHEMA.read_text())


def ocsf_problems(event: dict[str, Any]) -> list[str]:
    """What OCSF 1.8 has against an event."""
    found = schema()["classes"].get(str(event.get("class_uid")))
    if found is None:
        return [f"no class {event.get('class_uid')}"]
    problems = _object_problems("event", event, found)
    if event["type_uid"] != event["class_uid"] * 100 + event["activity_id"]:
        problems.append("type_uid is not class and activity")
    if event["category_uid"] != event["class_uid"] // 1_000:
        problems.append("category_uid is not that of the class")
    if event["metadata"]["version"] != schema()["version"]:
        problems.append("metadata.version is another one")
    return problems


_TYPES: dict[str, type | tuple[type, ...]] = {
    "integer_t": int,
    "long_t": int,
    "timestamp_t": int,
    "boolean_t": bool,
    "float_t": (int, float),
    "string_t": str,
    "hostname_t": str,
    "ip_t": str,
    "object": dict,
}


def _object_problems(at: str, value: dict[str, Any], kind: dict[str, Any]) -> list[str]:
    attributes = kind["attributes"]
    problems = [f"{at}.{name} is unknown" for name in value.keys() - attributes.keys()]
    problems += [
        f"{at}.{name} is missing"
        for name, each in attributes.items()
        if each.get("required") and name not in value
    ]
    for rule, names in kind.get("constraints", {}).items():
        count = len(set(names) & value.keys())
        if (rule == "at_least_one" and count == 0) or (rule == "just_one" and count != 1):
            problems.append(f"{at}: {rule} of {names}")
    for name, each in value.items():
        if name in attributes:
            problems += _value_problems(f"{at}.{name}", each, attributes[name])
    return problems


def _value_problems(at: str, value: Any, kind: dict[str, Any]) -> list[str]:
    if kind.get("array"):
        if not isinstance(value, list):
            return [f"{at} is no array"]
        one = {name: each for name, each in kind.items() if name != "array"}
        return [p for n, each in enumerate(value) for p in _value_problems(f"{at}.{n}", each, one)]
    if "enum" in kind and value not in kind["enum"]:
        return [f"{at} is {value!r}, none of {kind['enum']}"]
    nested = schema()["objects"].get(kind["type"])
    if nested is not None:
        if not isinstance(value, dict):
            return [f"{at} is no object"]
        return _object_problems(at, value, nested)
    expected = _TYPES.get(kind["type"], object)
    is_right = isinstance(value, expected) and (expected is bool or not isinstance(value, bool))
    return [] if is_right else [f"{at} is {value!r}, not a {kind['type']}"]


__all__ = [
    "AT",
    "SECRET",
    "WORKLOAD",
    "facts",
    "kind_of",
    "ocsf_problems",
    "outcome",
    "records",
    "told",
    "untold",
]
