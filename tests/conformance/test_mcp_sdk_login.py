"""The official MCP client finds our authorization server by itself, and a person lets it in."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from mcp import Client
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from oauth_kit import BACK, EDITOR, PUBLIC, oauth_server

from servers.sdk_server import over_http

pytestmark = [pytest.mark.anyio, pytest.mark.conformance, pytest.mark.mcp_conformance]


class Storage:
    """What the client keeps: it was registered before."""

    def __init__(self) -> None:
        self.tokens: OAuthToken | None = None
        self.client: OAuthClientInformationFull | None = OAuthClientInformationFull(
            client_id=PUBLIC, redirect_uris=[BACK], token_endpoint_auth_method="none"
        )

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


async def test_the_official_client_logs_a_person_in(tmp_path: Path) -> None:
    async with (
        over_http() as upstream,
        oauth_server(
            tmp_path, upstreams=({"name": "one", "url": upstream, "reach": "closed"},)
        ) as server,
    ):
        await server.gateway.pin_all()
        went: list[str] = []

        async def redirect(url: str) -> None:
            query = {name: value[0] for name, value in parse_qs(urlsplit(url).query).items()}
            page = await server.log_in(query)
            back = await server.answer(page, intent="Look around.")
            went.append(back.headers["location"])

        async def came_back() -> AuthorizationCodeResult:
            told = parse_qs(urlsplit(went[-1]).query)
            return AuthorizationCodeResult(
                code=told["code"][0], state=told["state"][0], iss=told["iss"][0]
            )

        storage = Storage()
        auth = OAuthClientProvider(
            server_url=server.resource,
            client_metadata=OAuthClientMetadata(
                redirect_uris=[BACK], token_endpoint_auth_method="none", client_name="Editor"
            ),
            storage=storage,
            redirect_handler=redirect,
            callback_handler=came_back,
        )
        async with httpx2.AsyncClient(auth=auth, timeout=30, trust_env=False) as http:
            transport = streamable_http_client(server.resource, http_client=http)
            async with Client(transport) as client:
                tools = (await client.list_tools()).tools
        assert tools
        assert len(went) == 1
        assert storage.tokens is not None
        assert storage.tokens.scope == "mcp"
        (run,) = await server.plane.runs.list_runs()
        assert (run.workload, run.intent) == (EDITOR, "Look around.")
