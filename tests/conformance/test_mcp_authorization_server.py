"""The MCP conformance suite's scenarios for authorization servers, against ours.

The suite prints the URL that a person is to open; here a person of the development login does.
"""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from oauth_kit import PUBLIC, oauth_server

from conformance.official_suite import NODE, SUITE

pytestmark = [pytest.mark.anyio, pytest.mark.conformance, pytest.mark.mcp_conformance]

_URL = re.compile(r"http://127\.0\.0\.1:\d+/oauth/authorize\?\S+")
EXPECTED = {"authorization-server-metadata-endpoint", "authorization-code-grant"}


async def test_every_scenario_for_authorization_servers_passes(
    tmp_path: Path, free_tcp_port: int
) -> None:
    folder = tmp_path / "suite"
    async with oauth_server(tmp_path) as server:
        process = await asyncio.create_subprocess_exec(
            str(NODE),
            str(SUITE),
            "authorization",
            "--url",
            server.issuer,
            "--client-id",
            PUBLIC,
            "--resource",
            server.resource,
            "-p",
            str(free_tcp_port),
            "-o",
            str(folder),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={"PATH": str(NODE.parent), "NO_COLOR": "1"},
        )
        assert process.stdout is not None
        said = ""
        try:
            async with asyncio.timeout(60):
                async for line in process.stdout:
                    said += line.decode()
                    found = _URL.search(line.decode())
                    if found is None:
                        continue
                    query = parse_qs(urlsplit(found[0]).query)
                    page = await server.log_in({name: value[0] for name, value in query.items()})
                    assert page.status_code == 200, page.text
                    back = await server.answer(page)
                    await server.http.get(back.headers["location"])
                await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    results: dict[str, list[dict[str, Any]]] = {}
    for path in folder.rglob("checks.json"):
        name = next(name for name in EXPECTED if name in path.parent.name)
        results[name] = json.loads(path.read_text(encoding="utf-8"))
    assert results.keys() == EXPECTED, said
    for name, checks in results.items():
        bad = [c for c in checks if c["status"] not in {"SUCCESS", "INFO"}]
        assert not bad, (name, bad)
        assert any(c["status"] == "SUCCESS" for c in checks), name
