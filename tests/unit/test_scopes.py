"""Scopes of streams are apart from those of tools: neither gives the other."""

from __future__ import annotations

import pytest

from midflight.domain.narrowing import Narrowing
from midflight.domain.scopes import beyond, meet, narrowing, scopes_of


def test_scopes_of_streams_are_known_and_name_something() -> None:
    assert scopes_of("ssf.read ssf.manage") == ("ssf.manage", "ssf.read")
    assert scopes_of("mcp ssf.read") == ("mcp", "ssf.read")
    for text in ("ssf", "ssf.", "ssf.write", "SSF.READ", "ssf.read ", "effect:read"):
        with pytest.raises(ValueError, match="scope value"):
            scopes_of(text)


def test_who_has_everything_has_no_stream() -> None:
    assert beyond(None, ("ssf.read",)) == ("ssf.read",)
    assert beyond(("mcp",), ("mcp:git", "ssf.manage")) == ("ssf.manage",)
    assert beyond(("ssf.read",), ("ssf.manage",)) == ("ssf.manage",)
    assert beyond(("ssf.read",), ("mcp",)) == ("mcp",)
    assert beyond(("mcp", "ssf.read"), ("ssf.read",)) == ()
    assert meet(("mcp",), ("mcp", "ssf.read")) == ("mcp",)
    assert meet(("mcp", "ssf.read"), ("ssf.manage", "ssf.read")) == ("ssf.read",)


def test_an_effect_limits_tools_and_no_streams() -> None:
    held = ("effect:read", "mcp", "ssf.read")
    assert beyond(held, ("ssf.read",)) == ()
    assert beyond(held, ("mcp", "ssf.read")) == ("mcp",)


def test_who_has_streams_alone_may_use_no_tool() -> None:
    assert narrowing(("ssf.manage", "ssf.read")) == Narrowing(only=frozenset())
    assert narrowing(("mcp", "ssf.read")).leaves_all
