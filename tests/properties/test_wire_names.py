"""Names on the aggregate endpoint are one to one, whatever upstreams call their tools."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from midflight.wire.lookalikes import folded
from midflight.wire.malformed import MalformedMessage
from midflight.wire.mcp.lists import Names, Resources

_UPSTREAMS = st.sampled_from(["a", "b", "ab", "a_b", "evil", "_a"])
# Hostile names are built from the names and separators of others.
_TOOLS = st.lists(
    st.sampled_from(["x", "y", "a", "b", "evil", "_", "__"]), min_size=1, max_size=5
).map("".join) | st.text(max_size=3)
_OFFERED = st.dictionaries(_UPSTREAMS, st.lists(_TOOLS, max_size=5), max_size=4)


@given(_OFFERED)
def test_every_tool_has_one_name_and_every_name_one_tool(offered: dict[str, list[str]]) -> None:
    names = Names(offered)
    owners = {(u, t) for u, tools in offered.items() for t in tools}
    shown = {owner: names.exposed(*owner) for owner in owners}
    assert None not in shown.values()
    assert len(set(shown.values())) == len(owners)
    for owner, name in shown.items():
        assert name is not None
        assert names.owner(name) == owner
        assert name in (owner[1], f"{owner[0]}__{owner[1]}")


@given(_OFFERED, _UPSTREAMS, _TOOLS)
def test_a_new_tool_never_takes_a_name_that_another_upstream_had(
    offered: dict[str, list[str]], upstream: str, tool: str
) -> None:
    before = Names(offered)
    after = Names({**offered, upstream: [*offered.get(upstream, []), tool]})
    for owner in {(u, t) for u, tools in offered.items() for t in tools}:
        shown = before.exposed(*owner)
        assert shown is not None
        now = after.owner(shown)
        assert now is None or now == owner or now[0] == owner[0]


@given(_OFFERED)
def test_only_contested_names_are_prefixed(offered: dict[str, list[str]]) -> None:
    names = Names(offered)
    owners = {(u, t) for u, tools in offered.items() for t in tools}
    prefixed = {f"{u}__{t}" for u, t in owners}
    for upstream, tool in owners:
        contested = tool in prefixed or any(u != upstream and t == tool for u, t in owners)
        if not contested:
            assert names.exposed(upstream, tool) == tool


_URIS = st.sampled_from(["f:1", "f:2", "g:1", "{x}", "f:{x}", "{x}:1", "f:1{x}", ""])
_CLAIMS = st.dictionaries(st.sampled_from("abc"), st.lists(_URIS, max_size=3), max_size=3)


@given(_CLAIMS, _CLAIMS, _URIS)
def test_a_resource_has_one_owner_or_none(
    uris: dict[str, list[str]], templates: dict[str, list[str]], uri: str
) -> None:
    resources = Resources(uris, templates)
    with contextlib.suppress(MalformedMessage):
        owner = resources.owner(uri)
        others = [u for u, listed in uris.items() if uri in listed and u != owner]
        assert not others


@given(st.text(max_size=8))
def test_folding_is_idempotent_and_covers_case(name: str) -> None:
    assert folded(folded(name)) == folded(name)
    if name.isascii():
        assert folded(name.upper()) == folded(name.lower())
