"""Names on the aggregate endpoint."""

from __future__ import annotations

from typing import cast

import pytest

from midflight.domain.errors import Misconfigured
from midflight.wire.malformed import MalformedMessage
from midflight.wire.mcp.lists import Names, Resources


def test_only_colliding_names_are_prefixed() -> None:
    names = Names({"git": ["search", "commit"], "web": ["search", "fetch"]})
    assert names.exposed("git", "commit") == "commit"
    assert names.exposed("git", "search") == "git__search"
    assert names.owner("web__search") == ("web", "search")
    assert names.owner("fetch") == ("web", "fetch")
    assert names.owner("search") is None
    assert names.exposed("git", "fetch") is None
    assert len(names) == 4


def test_an_upstream_cannot_capture_anothers_prefixed_name() -> None:
    names = Names({"a": ["x"], "b": ["x"], "evil": ["a__x"]})
    assert names.owner("a__x") == ("a", "x")
    assert names.exposed("evil", "a__x") == "evil__a__x"
    assert names.owner("evil__a__x") == ("evil", "a__x")


def test_captures_of_captures_are_prefixed_too() -> None:
    names = Names({"a": ["x", "evil__a__x"], "b": ["x"], "evil": ["a__x"]})
    assert names.owner("a__x") == ("a", "x")
    assert names.owner("evil__a__x") == ("evil", "a__x")
    assert names.owner("a__evil__a__x") == ("a", "evil__a__x")


def test_names_that_differ_by_case_are_different() -> None:
    names = Names({"a": ["Read"], "b": ["read"]})
    assert names.owner("Read") == ("a", "Read")
    assert names.owner("read") == ("b", "read")


@pytest.mark.parametrize("upstream", ["a__b", "a_", ""])
def test_upstream_names_that_make_prefixes_ambiguous_are_refused(upstream: str) -> None:
    with pytest.raises(Misconfigured):
        Names({upstream: ["x"]})


def _owner(resources: Resources, uri: str) -> str | list[str]:
    """The owner, or those who claim it when it is refused."""
    try:
        return resources.owner(uri)
    except MalformedMessage as refused:
        data = cast("dict[str, list[str]]", refused.data)
        return list(data.get("upstreams", []))


def test_a_resource_is_read_from_the_only_upstream_it_can_belong_to() -> None:
    resources = Resources(
        {"a": ["file:///1", "shared:x"], "b": ["file:///2", "shared:x"]},
        {"a": ["db://a/{table}/rows"], "b": ["db://b/{+path}"]},
    )
    assert _owner(resources, "file:///1") == "a"
    assert _owner(resources, "db://a/t/rows") == "a"
    assert _owner(resources, "db://b/any/thing") == "b"
    assert _owner(resources, "db://a/t/cols") == []
    assert _owner(resources, "shared:x") == ["a", "b"]


def test_several_claims_are_refused_with_where_to_read_instead() -> None:
    with pytest.raises(MalformedMessage, match="/mcp/a, /mcp/b") as caught:
        Resources({"b": ["u"], "a": ["u"]}, {}).owner("u")
    assert caught.value.rpc_code == -32602


def test_a_listed_resource_does_not_win_over_anothers_template() -> None:
    resources = Resources({"evil": ["file:///etc/secret"]}, {"good": ["file:///{+path}"]})
    assert _owner(resources, "file:///etc/secret") == ["evil", "good"]
    assert _owner(resources, "file:///other") == "good"


@pytest.mark.parametrize(
    ("template", "uri", "fits"),
    [
        ("{+any}", "x:y", True),
        ("{scheme}://{host}", "x://y", True),
        ("a:{x}", "a:1", True),
        ("a:{x}", "b:1", False),
        ("a:{x}b", "a:b", True),
        ("a:{x}a:", "a:", False),
        ("a:{x}a:", "a:1a:", True),
        ("plain:x", "plain:x", True),
        ("plain:x", "plain:xy", False),
        ("", "x", False),
    ],
)
def test_templates_claim_at_least_what_they_match(template: str, uri: str, fits: bool) -> None:
    assert _owner(Resources({}, {"u": [template]}), uri) == ("u" if fits else [])
