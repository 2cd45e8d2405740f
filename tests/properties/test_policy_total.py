"""I4: `decide` is total and fails closed; slices decide what the whole set decides."""

from __future__ import annotations

import json
from typing import Any

import cedarpy
import jsonschema
import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_kit import AGENT, ALLOW_ALL, engine, facts, policies, question, tool

from midflight.adapters.policy.arguments import Misfit, carry
from midflight.adapters.policy.cedar import CedarEngine
from midflight.adapters.policy.context import build_context
from midflight.adapters.policy.entities import build_entities, resource_uid, uid
from midflight.adapters.policy.names import argument_id, argument_name
from midflight.adapters.policy.parsing import CedarSet
from midflight.adapters.policy.schema import EVERYTHING, slice_schema, tool_groups
from midflight.adapters.policy.shapes import arguments_shape, cedar_type
from midflight.adapters.policy.slices import make_handle
from midflight.domain.action import ActionKind
from midflight.domain.decision import Challenge, Decision, Deny, DenyCode, Permit
from midflight.domain.labels import Confidentiality, Labels
from midflight.domain.question import Question, Source, Target

# Any JSON, with what a lax decoder lets through besides: NaN, lone surrogates, huge integers.
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(2**70), max_value=2**70)
    | st.floats()
    | st.text(st.characters(), max_size=8)
    | st.sampled_from(["__entity", "__extn", "\ud800", ""])
)
json_values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=5) | st.sampled_from(["a", "b", "__entity", "type", "id"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
names = st.sampled_from(["a", "b", "user-id", "in", "__x", "é", "", "9"])
json_objects = st.dictionaries(names | st.text(max_size=4), json_values, max_size=5)

# Schemas of the supported kinds, and then anything at all where a schema could be.
leaf_schemas = st.sampled_from(
    [
        {"type": "string"},
        {"type": "integer"},
        {"type": "boolean"},
        {"type": "number"},
        {"enum": ["x", "y"]},
        {"type": ["string", "null"]},
        {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        {"anyOf": [{"type": "integer"}, {"type": "string"}]},
        {},
        True,
        {"$ref": "#/nowhere"},
    ]
)


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda properties, required, closed: {
            "type": "object",
            "properties": properties,
            "required": [name for name in required if name in properties],
            **({"additionalProperties": False} if closed else {}),
        },
        st.dictionaries(names, inner, max_size=4),
        st.lists(names, max_size=3, unique=True),
        st.booleans(),
    )


schemas = objects(
    st.recursive(
        leaf_schemas,
        lambda inner: objects(inner) | st.builds(lambda i: {"type": "array", "items": i}, inner),
        max_leaves=6,
    )
)
OPTIONS = st.sampled_from(["a", "b", "user__2d_id", "___", "__9"])


@given(schema=schemas | json_objects | st.none(), arguments=json_objects, seen=st.booleans())
def test_any_arguments_to_any_schema_get_a_decision(
    schema: dict[str, Any] | None, arguments: dict[str, Any], seen: bool
) -> None:
    target = tool(schema=schema)
    look = '@id("look") forbid(principal, action, resource) when { context.args == {zz: 1} };'
    judge = engine(ALLOW_ALL, *([look] if seen else []), targets=(target,))

    decision = judge.decide(question(target, arguments))

    assert isinstance(decision, (Permit, Deny))
    if isinstance(decision, Deny):
        assert decision.code in (DenyCode.INVALID_ARGUMENTS, DenyCode.POLICY_ERROR)


@given(schema=schemas, arguments=json_objects, seen=st.booleans())
def test_no_permit_for_what_the_json_schema_of_a_typed_argument_refuses(
    schema: dict[str, Any], arguments: dict[str, Any], seen: bool
) -> None:
    """Held against the jsonschema library: whatever we permit, it accepts, `null` apart."""
    target = tool(schema=schema)
    look = '@id("look") forbid(principal, action, resource) when { context.args == {zz: 1} };'
    judge = engine(ALLOW_ALL, *([look] if seen else []), targets=(target,))
    if isinstance(judge.decide(question(target, arguments)), Permit):
        for name, value in arguments.items():
            declared = schema["properties"].get(name)
            if isinstance(declared, dict) and declared.get("type") in (
                "string",
                "integer",
                "boolean",
                "number",
            ):
                assert value is None or jsonschema.Draft202012Validator(declared).is_valid(value)
                assert value is not None or name not in schema["required"]


@given(name=st.text(st.characters()) | names)
def test_argument_names_map_one_to_one_to_cedar_identifiers(name: str) -> None:
    identifier = argument_id(name)
    assert argument_name(identifier) == name
    policy = f"permit(principal, action, resource) when {{ context.args.{identifier} == 1 }};"
    assert len(cedarpy.PolicySet.from_str(policy)) == 1


@given(schema=schemas)
def test_every_shape_is_a_schema_that_cedar_takes(schema: dict[str, Any]) -> None:
    shape = arguments_shape(schema)
    assert cedar_type(shape)["type"] == "Record"
    document = slice_schema(
        "call_tool::a/b",
        groups=("call_tool", "read"),
        resource="Tool",
        shape=shape,
        seen=EVERYTHING,
    )
    cedarpy.Schema.from_json_str(json.dumps(document))


# Random sets: heads that name everything there is to name, and conditions over facts and arguments.

SCHEMA = {
    "type": "object",
    "properties": {
        "a": {"type": "string"},
        "b": {"type": "integer"},
        "c": {"type": "number"},
        "d": {"type": "object", "properties": {"e": {"type": "boolean"}}},
        "f": {"type": "array", "items": {"type": "string"}},
        "g": {},
    },
    "required": ["a"],
}
TOOLS = (
    tool("one", "send", schema=SCHEMA),
    tool("two", "read", reach="closed", schema=SCHEMA),
    tool("one", "pay", upstream="bank", schema=SCHEMA),
    tool("new", "execute", upstream="bank", reviewed=False),
)
WORKLOADS = (
    AGENT,
    msgspec.structs.replace(AGENT, id="spiffe://example.org/agents/two", team="blue"),
)
principals = st.sampled_from(
    [
        "principal",
        "principal is Workload",
        f'principal == Workload::"{AGENT.id}"',
        'principal in Team::"blue"',
        'principal is Workload in Team::"default"',
        'principal in Team::"nobody"',
    ]
)
actions = st.sampled_from(
    [
        "action",
        'action in Action::"call_tool"',
        'action in Action::"send"',
        'action in [Action::"pay", Action::"read"]',
        'action == Action::"call_tool::office/one"',
        'action in [Action::"call_tool::bank/one", Action::"read_resource"]',
        'action == Action::"read_resource"',
        "action in []",
    ]
)
resources = st.sampled_from(
    [
        "resource",
        "resource is Tool",
        'resource == Tool::"office/one"',
        'resource in Upstream::"bank"',
        'resource is Item in Upstream::"office"',
        'resource == Item::"read_resource:office/one"',
    ]
)
conditions = st.sampled_from(
    [
        "true",
        "context.run.untrusted",
        "context.run.steps > 2",
        'context.run.compartments.contains("pii")',
        "context.run.confidentiality >= 1",
        "context.approval.granted",
        "!context.approval.granted",
        'resource.reach == "open"',
        'resource.name == "one"',
        "resource.reviewed",
        'principal.team == "blue"',
        'context has args && context.args has a && context.args.a like "x*"',
        "context has args && context.args has b && context.args.b > 10",
        "context has args && context.args has b && context.args.b + 1 > 10",
        'context has args && context.args has c && context.args.c.lessThan(decimal("1.5"))',
        "context has args && context.args has d && context.args.d has e && context.args.d.e",
        'context has args && context.args has f && context.args.f.contains("x")',
        'context.untyped.contains("g")',
        'context has args && context.args == {a: "x"}',
        "context.time.hour > 12",
        "context.missing",
        'action == Action::"call_tool::office/two"',
        'context.source.point == "mcp"',
    ]
)


@st.composite
def policy_sets(draw: st.DrawFn) -> CedarSet:
    texts = []
    for n in range(draw(st.integers(1, 8))):
        effect = draw(st.sampled_from(["permit", "permit", "forbid"]))
        head = f"{draw(principals)}, {draw(actions)}, {draw(resources)}"
        clauses = " ".join(
            f"{draw(st.sampled_from(['when', 'unless']))} {{ {draw(conditions)} }}"
            for _ in range(draw(st.integers(0, 2)))
        )
        notes = ""
        if "approval" in clauses:
            notes = draw(st.sampled_from(["", '@approvers("a, b")', '@expires("5m")']))
        texts.append(f'@id("p{n}") {notes} {effect} ({head}) {clauses};')
    return policies("\n".join(texts))


good_arguments = st.fixed_dictionaries(
    {"a": st.sampled_from(["x", "xy", "q"])},
    optional={
        "b": st.sampled_from([0, 10, 11, 2**63 - 1]),
        "c": st.sampled_from([1, 1.5, 1.25, 1.00001]),
        "d": st.sampled_from([{}, {"e": True}, {"e": False, "z": 1}]),
        "f": st.sampled_from([[], ["x"], ["y", "y"]]),
        "g": st.sampled_from([1, None, "z"]),
        "h": st.just(1),
    },
)
runs = st.builds(
    facts,
    has_intent=st.booleans(),
    implicit=st.booleans(),
    steps=st.integers(0, 4),
    labels=st.builds(
        Labels,
        untrusted=st.booleans(),
        confidentiality=st.sampled_from(list(Confidentiality)),
        compartments=st.sampled_from([frozenset(), frozenset({"pii"})]),
    ),
)
questions = st.builds(
    question,
    st.sampled_from(TOOLS),
    good_arguments,
    kind=st.sampled_from([ActionKind.CALL_TOOL, ActionKind.CALL_TOOL, ActionKind.READ_RESOURCE]),
    workload=st.sampled_from(WORKLOADS),
    run=runs,
    at=st.sampled_from([0, 1_736_164_800, 1_736_200_000]),
    approved=st.booleans(),
)


def whole_answer(policy_set: CedarSet, asked: Question) -> str:
    """The same question to the whole set with the whole context: no slice, no pruning."""
    is_tool = asked.kind is ActionKind.CALL_TOOL
    shape = arguments_shape(asked.target.schema) if is_tool else None
    if is_tool:
        assert shape is not None
        action = f"call_tool::{asked.target.upstream}/{asked.target.name}"
        groups = tool_groups(asked.target)
        try:
            carried = carry(asked.arguments, shape, wanted=None)
        except Misfit:
            return "misfit"
    else:
        action, groups = asked.kind.value, ("read",)
        carried = carry(asked.arguments, arguments_shape(None), wanted=None)
    schema = cedarpy.Schema.from_json_str(
        json.dumps(
            slice_schema(
                action,
                groups=groups,
                resource="Tool" if is_tool else "Item",
                shape=shape,
                seen=EVERYTHING,
            )
        )
    )
    context = build_context(asked, carried, seen=EVERYTHING)
    if not is_tool:
        context.pop("args")
    result = cedarpy.is_authorized(
        {
            "principal": uid("Workload", asked.workload.id),
            "action": uid("Action", action),
            "resource": resource_uid(asked.kind, asked.target),
            "context": context,
        },
        make_handle(policy_set.policies.values()),
        build_entities(asked.kind, workload=asked.workload, targets=[asked.target], schema=schema),
        schema,
    )
    if result.diagnostics.errors:
        return "error"
    return result.decision.value


def name_of(decision: Decision) -> str:
    match decision:
        case Permit():
            return "Allow"
        case Deny(code=DenyCode.POLICY_ERROR):
            return "error"
        case Deny(code=DenyCode.INVALID_ARGUMENTS):
            return "misfit"
        case Deny() | Challenge():
            return "Deny"


@settings(max_examples=200)
@given(policy_set=policy_sets(), asked=st.lists(questions, min_size=1, max_size=4))
def test_a_slice_decides_what_the_whole_set_decides(
    policy_set: CedarSet, asked: list[Question]
) -> None:
    judge = CedarEngine(policy_set, TOOLS)
    for one in asked:
        whole, sliced = whole_answer(policy_set, one), name_of(judge.decide(one))
        # A number that no policy of the slice looks at is not refused; the whole context would.
        # And an error of a policy whose head does not match is none in either.
        if whole == "misfit" and sliced != "misfit":
            assert one.arguments["c"] == 1.00001
            plain = {k: v for k, v in one.arguments.items() if k != "c"}
            without = msgspec.structs.replace(one, arguments=plain)
            assert sliced == name_of(judge.decide(without))
        else:
            assert sliced == whole


@given(policy_set=policy_sets(), asked=questions)
def test_a_challenge_says_what_an_approval_would_give(
    policy_set: CedarSet, asked: Question
) -> None:
    judge = CedarEngine(policy_set, TOOLS)
    before = judge.decide(msgspec.structs.replace(asked, approved=False))
    after = judge.decide(msgspec.structs.replace(asked, approved=True))
    if isinstance(before, Challenge):
        assert isinstance(after, Permit)
        assert before.reasons
    elif isinstance(before, Deny) and before.code is DenyCode.POLICY:
        assert not isinstance(after, Permit)
        assert before.reasons
    assert not isinstance(after, Challenge)


@given(policy_set=policy_sets(), asked=questions)
def test_what_can_be_permitted_or_asked_for_is_visible(
    policy_set: CedarSet, asked: Question
) -> None:
    judge = CedarEngine(policy_set, TOOLS)

    def visible(target: Target) -> frozenset[str]:
        return judge.visible(
            [target],
            workload=asked.workload,
            # Everything that may differ between listing and calling does.
            run=msgspec.structs.replace(asked.run, age_s=0, steps=0, labels_source="elsewhere"),
            source=Source(peer="elsewhere"),
            at=0,
            kind=asked.kind,
        )

    if isinstance(judge.decide(asked), (Permit, Challenge)):
        assert asked.target.name in visible(asked.target)


@given(policy_set=policy_sets(), asked=questions)
def test_the_same_question_to_the_same_version_gives_the_same_decision(
    policy_set: CedarSet, asked: Question
) -> None:
    again = policies(policy_set.sources[0].text + "\n// a comment changes no meaning")
    assert again.version == policy_set.version
    warm = CedarEngine(policy_set, TOOLS)
    warm.decide(asked)
    assert warm.decide(asked) == CedarEngine(again, TOOLS).decide(asked)
