"""The role that a traits file gives an argument is the role that its values are judged by."""

from __future__ import annotations

from typing import Any

import pytest

from midflight.domain.flow.subject import parts, subject
from midflight.domain.traits import Argument, Role, Traits


def roles(path: str, arguments: dict[str, Any]) -> dict[str, Role]:
    # A role that no rule would guess from these names.
    traits = Traits(arguments=(Argument(path=path, role=Role.SCOPE),))
    return {part.text: part.role for part in parts(subject("x", "", traits), arguments)}


@pytest.mark.parametrize(
    ("path", "arguments"),
    [
        ("to", {"to": "v"}),
        ("to", {"to": ["v"]}),
        ("to[*]", {"to": "v"}),
        ("to[*]", {"to": ["u", "v"]}),
        ("event.note", {"event": {"note": "v"}}),
        ("events[*].note", {"events": [{"note": "v"}]}),
        ("events[*].note[*]", {"events": [{"note": [["v"]]}]}),
        ("['odd name']", {"odd name": "v"}),
        ("['a.b']", {"a.b": "v"}),
        ("['n\\u043ete']", {"n\u043ete": "v"}),
    ],
)
def test_a_value_has_the_role_of_its_argument(path: str, arguments: dict[str, Any]) -> None:
    assert roles(path, arguments)["v"] is Role.SCOPE


@pytest.mark.parametrize(
    ("path", "arguments"),
    [
        ("a.b", {"a.b": "v"}),
        ("['a.b']", {"a": {"b": "v"}}),
        ("note", {"event": {"note": "v"}}),
        ("note", {"n\u043ete": "v"}),
        ("events[*].note", {"events": {"note": "v"}}),
    ],
)
def test_no_other_value_has_it(path: str, arguments: dict[str, Any]) -> None:
    assert roles(path, arguments)["v"] is not Role.SCOPE
