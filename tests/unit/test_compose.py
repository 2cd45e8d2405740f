"""What the settings ask for is what is constructed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from midflight.adapters.upstream.http2 import Http2Client
from midflight.adapters.upstream.http_pool import HttpPool
from midflight.adapters.upstream.mcp_http import McpHttpUpstream
from midflight.apps.compose import Plane, do_chores
from midflight.apps.compose_parts import parts
from midflight.apps.settings import Settings
from midflight.domain.errors import UpstreamUnavailable
from midflight.services.ports.injection import NOTHING

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("chosen", "client"),
    [
        ({}, HttpPool),
        ({"http2": True}, Http2Client),
        ({"proxy": "http://127.0.0.1:3128"}, Http2Client),
    ],
    ids=["plain", "HTTP/2", "proxy"],
)
async def test_an_upstream_gets_the_client_that_its_settings_need(
    chosen: dict[str, Any], client: type, tmp_path: Path
) -> None:
    entry = {"name": "one", "url": "https://one.example.org/mcp", **chosen}
    settings = Settings(state={"directory": tmp_path / "state"}, upstream=(entry,))
    upstream = parts(settings).upstreams["one"]
    assert isinstance(upstream, McpHttpUpstream)
    assert type(upstream._clients.plain) is client
    await upstream.close()


async def test_lists_are_asked_for_with_the_credential_that_settings_name(tmp_path: Path) -> None:
    entries = [
        {"name": name, "url": f"https://{name}.example.org/mcp", **more}
        for name, more in (("one", {"lists_with": "wiki"}), ("two", {}))
    ]
    settings = Settings(state={"directory": tmp_path / "state"}, upstream=tuple(entries))
    plane = Plane(settings, parts(settings))
    with pytest.raises(UpstreamUnavailable, match="wiki, which does not exist"):
        async with plane.catalogue._lent("one"):
            raise AssertionError
    async with plane.catalogue._lent("two") as (attachment, _):
        assert attachment is NOTHING


def test_a_child_is_listed_without_a_credential() -> None:
    with pytest.raises(ValidationError, match="lists_with"):
        Settings(upstream=({"name": "one", "command": "true", "lists_with": "wiki"},))


async def test_a_bug_in_one_chore_ends_none_of_the_others() -> None:
    done: list[str] = []

    async def bad() -> None:
        raise ValueError("a bug")

    async def good() -> None:
        done.append("good")

    await do_chores((bad, good))
    assert done == ["good"]
