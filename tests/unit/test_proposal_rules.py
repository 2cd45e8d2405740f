"""What a manifest suggests: effects by verbs, reach by what leaves, roles by names and formats."""

from __future__ import annotations

from typing import Any

import pytest

from midflight.domain.proposal import propose
from midflight.domain.proposal.roles import role_of
from midflight.domain.tool import Definition, PinnedKind
from midflight.domain.traits import Effect, Reach, Role, Traits

STRING = {"type": "string"}


def proposed(name: str, description: str = "", hints: Any = None, **arguments: Any) -> Traits:
    body: dict[str, Any] = {
        "name": name,
        "description": description,
        "inputSchema": {"type": "object", "properties": arguments},
    }
    if hints is not None:
        body["annotations"] = hints
    definition = Definition(upstream="one", kind=PinnedKind.TOOL, name=name, body=body)
    return propose(definition).traits


@pytest.mark.parametrize(
    ("name", "description", "arguments", "effect"),
    [
        ("list_rooms", "", {}, Effect.READ),
        ("getInvoice", "", {"id": STRING}, Effect.READ),
        ("create_note", "", {"text": STRING}, Effect.WRITE),
        ("updateNote", "", {"text": STRING}, Effect.WRITE),
        ("remove_note", "", {"id": STRING}, Effect.DELETE),
        ("order-cancel", "", {"id": STRING}, Effect.DELETE),
        ("notify_team", "", {"text": STRING}, Effect.SEND),
        ("pay_bill", "", {"amount": STRING}, Effect.PAY),
        ("send_money", "", {"iban": STRING, "amount": STRING}, Effect.PAY),
        ("book_room", "", {"room": STRING}, Effect.PAY),
        ("run_script", "", {"script": STRING}, Effect.EXECUTE),
        ("query", "", {"sql": STRING}, Effect.EXECUTE),
        ("add_member", "", {"user": STRING}, Effect.GRANT),
        ("share_note", "", {"user": STRING}, Effect.GRANT),
        ("reset_password", "", {}, Effect.GRANT),
        ("save_memory", "", {"text": STRING}, Effect.INSTRUCT),
        ("update_rules", "", {"text": STRING}, Effect.INSTRUCT),
        ("frobnicate", "", {}, Effect.EXECUTE),
        ("", "", {}, Effect.EXECUTE),
        ("frobnicate", "Deletes a note.", {}, Effect.DELETE),
        ("get_note", "Deletes a note and returns it.", {}, Effect.DELETE),
        ("get_or_delete_note", "", {}, Effect.DELETE),
    ],
)
def test_an_effect_is_what_the_verb_says_and_the_worse_of_two(
    name: str, description: str, arguments: Any, effect: Effect
) -> None:
    assert proposed(name, description, **arguments).effect is effect


@pytest.mark.parametrize(
    ("name", "arguments", "reach"),
    [
        ("list_notes", {}, Reach.CLOSED),
        ("create_note", {"text": STRING}, Reach.CLOSED),
        ("create_event", {"participants": STRING}, Reach.OPEN),
        ("get_thing", {"url": STRING}, Reach.OPEN),
        ("get_thing", {"where": {"type": "string", "format": "uri"}}, Reach.OPEN),
        ("send_note", {}, Reach.OPEN),
        ("pay_bill", {}, Reach.OPEN),
        ("search_web", {"query": STRING}, Reach.OPEN),
    ],
)
def test_a_reach_is_open_where_something_leaves(name: str, arguments: Any, reach: Reach) -> None:
    assert proposed(name, **arguments).reach is reach


@pytest.mark.parametrize(
    ("name", "schema", "role"),
    [
        ("recipients", STRING, Role.RECIPIENT),
        ("to", STRING, Role.RECIPIENT),
        ("travel_to", STRING, Role.OBJECT),
        ("replyTo", STRING, Role.RECIPIENT),
        ("iban", STRING, Role.ACCOUNT),
        ("target", {"type": "string", "description": "The IBAN to pay to"}, Role.ACCOUNT),
        ("whom", {"type": "string", "description": "E-mail address of a guest"}, Role.RECIPIENT),
        ("amount", {"type": "number"}, Role.AMOUNT),
        ("webhook", STRING, Role.URL),
        ("target", {"type": "string", "format": "uri"}, Role.URL),
        ("who", {"type": "array", "items": {"type": "string", "format": "email"}}, Role.RECIPIENT),
        ("filePath", STRING, Role.PATH),
        ("command", STRING, Role.COMMAND),
        ("role", STRING, Role.SCOPE),
        ("access_level", {"enum": ["read", "admin"]}, Role.SCOPE),
        ("new_password", STRING, Role.CREDENTIAL),
        ("body", STRING, Role.CONTENT),
        ("subject", STRING, Role.TITLE),
        ("query", STRING, Role.QUERY),
        ("start_date", STRING, Role.TIME),
        ("event_id", STRING, Role.OBJECT),
        ("flavour", {"enum": ["sweet", "sour"]}, Role.SETTING),
        ("loud", {"type": "boolean"}, Role.SETTING),
        ("flavour", STRING, Role.OBJECT),
    ],
)
def test_a_role_is_what_format_description_and_name_say(name: str, schema: Any, role: Role) -> None:
    assert role_of(name, schema)[0] is role


def test_arguments_inside_of_others_have_roles_of_their_own() -> None:
    guest = {"type": "object", "properties": {"email": STRING, "note": STRING}}
    traits = proposed(
        "create_event",
        guests={"type": "array", "items": {"$ref": "#/$defs/guest"}},
        detail={"anyOf": [guest, {"type": "null"}]},
    )
    assert {a.path: a.role for a in traits.arguments}["detail.email"] is Role.RECIPIENT
    body = {
        "inputSchema": {
            "properties": {"guests": {"type": "array", "items": {"$ref": "#/$defs/guest"}}},
            "$defs": {"guest": guest},
        }
    }
    made = propose(Definition(upstream="one", kind=PinnedKind.TOOL, name="create_event", body=body))
    assert {a.path: a.role for a in made.traits.arguments} == {
        "guests[*].email": Role.RECIPIENT,
        "guests[*].note": Role.CONTENT,
    }


def test_a_schema_that_refers_to_itself_ends() -> None:
    body = {"inputSchema": {"properties": {"a": {"$ref": "#/properties/a"}}}}
    propose(Definition(upstream="one", kind=PinnedKind.TOOL, name="create_event", body=body))


@pytest.mark.parametrize(
    ("hints", "effect", "reach"),
    [
        ({"destructiveHint": True}, Effect.DELETE, Reach.CLOSED),
        ({"readOnlyHint": False}, Effect.WRITE, Reach.CLOSED),
        ({"openWorldHint": True}, Effect.READ, Reach.OPEN),
        ({"readOnlyHint": True, "destructiveHint": True}, Effect.READ, Reach.CLOSED),
        ({"readOnlyHint": "no", "openWorldHint": 1}, Effect.READ, Reach.CLOSED),
        ([], Effect.READ, Reach.CLOSED),
        ("destructive", Effect.READ, Reach.CLOSED),
    ],
)
def test_an_upstream_that_says_worse_of_itself_is_believed(
    hints: Any, effect: Effect, reach: Reach
) -> None:
    found = proposed("list_notes", hints=hints)
    assert (found.effect, found.reach) == (effect, reach)


@pytest.mark.parametrize(
    "name", ["send_note", "pay_bill", "remove_note", "add_member", "fetch_url"]
)
def test_an_upstream_that_says_better_of_itself_is_not(name: str) -> None:
    harmless = {"readOnlyHint": True, "destructiveHint": False, "openWorldHint": False,
                "idempotentHint": True, "title": "List notes"}  # fmt: skip
    assert proposed(name, hints=harmless, url=STRING) == proposed(name, url=STRING)


def test_what_is_proposed_is_no_review() -> None:
    found = proposed("list_notes", hints={"reviewed": True})
    assert found.proposed
    assert not found.reviewed
    assert not found.first_party
    assert found.persists
    assert found.yields == ()
