"""Names, shapes and arguments: from JSON Schema and JSON to Cedar."""

from __future__ import annotations

from typing import Any

import pytest
from policy_kit import MAIL_SCHEMA

from midflight.adapters.policy.arguments import Misfit, carry
from midflight.adapters.policy.names import (
    argument_id,
    argument_name,
    item_id,
    parse_tool_action_id,
    parse_tool_id,
    tool_action_id,
    tool_id,
)
from midflight.adapters.policy.shapes import (
    MAX_DEPTH,
    RecordOf,
    Scalar,
    SetOf,
    arguments_shape,
    cedar_type,
)
from midflight.domain.action import ActionKind


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("repo_path", "repo_path"),
        ("_x", "_x"),
        ("x_", "x_"),
        ("user-id", "user__2d_id"),
        ("in", "__69_n"),
        ("__cedar", "__5f__cedar"),
        ("a__b", "a__5f__b"),
        ("9", "__39_"),
        ("", "___"),
        ("é", "__e9_"),
        ("_-", "__5f___2d_"),
        ("a_9", "a_9"),
    ],
)
def test_an_argument_name_becomes_an_identifier_and_comes_back(name: str, identifier: str) -> None:
    assert argument_id(name) == identifier
    assert argument_name(identifier) == name


@pytest.mark.parametrize("upstream", ["git", "a/b", "a%2Fb", "%", ""])
@pytest.mark.parametrize("name", ["commit", "a/b", "%2F", "", "::"])
def test_a_tool_id_can_be_read_backwards(upstream: str, name: str) -> None:
    assert parse_tool_id(tool_id(upstream, name)) == (upstream, name)
    assert parse_tool_action_id(tool_action_id(upstream, name)) == (upstream, name)


def test_what_is_no_tool_id_is_refused() -> None:
    assert parse_tool_action_id("call_tool") is None
    assert parse_tool_action_id("call_tool::nothing") is None
    with pytest.raises(ValueError, match="upstream"):
        parse_tool_id("nothing")


def test_items_of_two_kinds_have_two_ids() -> None:
    assert item_id(ActionKind.READ_RESOURCE, "f", "x") != item_id(ActionKind.GET_PROMPT, "f", "x")


def shape_of(schema: Any) -> Any:
    found = arguments_shape({"type": "object", "properties": {"x": schema}, "required": ["x"]})
    return found.members["x"]


@pytest.mark.parametrize(
    ("schema", "shape"),
    [
        ({"type": "string", "enum": ["a"]}, Scalar.STRING),
        ({"enum": ["a", "b"]}, Scalar.STRING),
        ({"const": 3}, Scalar.LONG),
        ({"type": "integer"}, Scalar.LONG),
        ({"type": "number"}, Scalar.DECIMAL),
        ({"type": "boolean"}, Scalar.BOOL),
        ({"type": "array", "items": {"type": "string"}}, SetOf(element=Scalar.STRING)),
        ({"allOf": [{"type": "string"}]}, Scalar.STRING),
        ({"type": "string", "anyOf": [{"format": "uri"}, {"format": "email"}]}, Scalar.STRING),
        ({"enum": ["a", 1]}, None),
        ({"enum": []}, None),
        ({"enum": [True]}, None),
        ({"type": "array"}, None),
        ({"type": "array", "items": {"type": ["string", "null"]}}, None),
        ({"type": "object"}, None),
        ({"type": "object", "additionalProperties": {"type": "string"}}, None),
        ({"type": ["string", "integer"]}, None),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, None),
        ({"allOf": [{"type": "string"}, {"maxLength": 3}]}, None),
        ({"type": "null"}, None),
        ({"type": 7}, None),
        ({"$ref": "https://elsewhere.test/schema"}, None),
        ({"anyOf": "no list"}, None),
        ({}, None),
        (True, None),
    ],
)
def test_a_schema_has_this_shape(schema: Any, shape: Any) -> None:
    assert shape_of(schema).shape == shape


@pytest.mark.parametrize(
    "schema",
    [
        {"type": ["string", "null"]},
        {"anyOf": [{"type": "string"}, {"type": "null"}]},
        {"oneOf": [{"type": "null"}, {"$ref": "#/properties/name"}]},
    ],
)
def test_a_nullable_argument_is_typed_and_optional(schema: Any) -> None:
    found = arguments_shape(
        {
            "type": "object",
            "properties": {"x": schema, "name": {"type": "string"}},
            "required": ["x"],
        }
    )
    assert found.members["x"].shape is Scalar.STRING
    assert not found.members["x"].required
    assert carry({"x": None}, found, wanted=None).typed == {}


def test_local_references_are_followed_and_cycles_end() -> None:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {"n": {"$ref": "#/$defs/a~1b"}, "loop": {"$ref": "#/$defs/loop"}},
        "$defs": {
            "a/b": {
                "type": "object",
                "properties": {"next": {"$ref": "#/$defs/a~1b"}, "v": {"type": "string"}},
            },
            "loop": {"$ref": "#/$defs/loop"},
        },
    }
    found = arguments_shape(schema)
    assert isinstance(found.members["n"].shape, RecordOf)
    assert found.members["loop"].shape is None
    depth, at = 0, found.members["n"].shape
    while isinstance(at, RecordOf):
        depth, at = depth + 1, at.members["next"].shape
    assert depth <= MAX_DEPTH


@pytest.mark.parametrize(
    "schema", [None, {}, {"type": "string"}, {"properties": 3, "type": "object"}]
)
def test_a_tool_without_a_usable_schema_has_no_typed_argument(schema: Any) -> None:
    carried = carry({"x": 1}, arguments_shape(schema), wanted=None)
    assert carried.typed == {}
    assert carried.untyped == ("x",)


def test_typed_arguments_are_carried_by_their_cedar_names() -> None:
    carried = carry(
        {
            "to": "a",
            "cc": ["b", "b"],
            "weight": 12.5,
            "options": {"reply-to": "é", "ttl": 1, "more": 2},
            "anything": {"deep": 1},
            "undeclared": None,
        },
        arguments_shape(MAIL_SCHEMA),
        wanted=None,
    )
    assert carried.typed == {
        "to": "a",
        "cc": ["b", "b"],
        "weight": {"__extn": {"fn": "decimal", "arg": "12.5000"}},
        "options": {"reply__2d_to": "é", "ttl": 1},
    }
    assert carried.untyped == ("options.more", "anything", "undeclared")


def test_what_no_policy_wants_is_checked_and_not_carried() -> None:
    shape = arguments_shape(MAIL_SCHEMA)
    assert carry({"to": "a", "copies": 3}, shape, wanted={"copies"}).typed == {"copies": 3}
    with pytest.raises(Misfit, match="copies"):
        carry({"to": "a", "copies": "3"}, shape, wanted=())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.0000"),
        (-0.5, "-0.5000"),
        (1e-4, "0.0001"),
        (-1e-4, "-0.0001"),
        (0.1, "0.1000"),
        (1e14, "100000000000000.0000"),
        (922337203685477, "922337203685477.0000"),
    ],
)
def test_a_number_becomes_an_exact_decimal(value: float, text: str) -> None:
    shape = arguments_shape({"type": "object", "properties": {"n": {"type": "number"}}})
    typed = carry({"n": value}, shape, wanted=None).typed
    assert typed == {"n": {"__extn": {"fn": "decimal", "arg": text}}}


@pytest.mark.parametrize("value", [1e-5, 922337203685478, 10**400, -(10**15), 1e300])
def test_a_number_that_no_decimal_holds_is_refused(value: float) -> None:
    shape = arguments_shape({"type": "object", "properties": {"n": {"type": "number"}}})
    with pytest.raises(Misfit, match=r"`n`"):
        carry({"n": value}, shape, wanted=None)


def test_a_closed_schema_takes_nothing_undeclared_unless_patterns_do() -> None:
    closed: dict[str, Any] = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "additionalProperties": False,
    }
    with pytest.raises(Misfit, match="bcc"):
        carry({"bcc": "x"}, arguments_shape(closed), wanted=None)
    patterned = closed | {"patternProperties": {"^x-": {"type": "string"}}}
    assert carry({"x-y": "z"}, arguments_shape(patterned), wanted=None).untyped == ("x-y",)


def test_a_misfit_shows_no_value_and_no_control_characters() -> None:
    shape = arguments_shape(
        {"type": "object", "properties": {"a\x1b[31m`" + "b" * 200: {"type": "integer"}}}
    )
    with pytest.raises(Misfit) as caught:
        carry({"a\x1b[31m`" + "b" * 200: "s3cret"}, shape, wanted=None)
    text = str(caught.value)
    assert "s3cret" not in text
    assert "\x1b" not in text
    assert len(text) < 140


def test_records_and_sets_have_their_cedar_types() -> None:
    shape = arguments_shape(MAIL_SCHEMA)
    attributes = cedar_type(shape)["attributes"]
    assert attributes["to"] == {"type": "String", "required": True}
    assert attributes["cc"] == {"type": "Set", "element": {"type": "String"}, "required": False}
    assert attributes["weight"] == {"type": "Extension", "name": "decimal", "required": False}
    assert attributes["options"]["attributes"]["ttl"] == {"type": "Long", "required": True}
    assert "anything" not in attributes
