"""An upstream's authorization server that gives more than was asked for, or wants our secrets.

Each attempt ends in a refusal, what it gave is given back, and nothing it said is repeated.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import pytest
from credential_kit import MARKER, lease, server
from oauth_backend_kit import GOOD, READ, client, pretending

from midflight.domain.errors import Misconfigured, Unavailable

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scope": f"{READ} admin"}, "scopes that were not asked for"),
        ({"scope": 7}, "scopes that were not asked for"),
        ({"token_type": "DPoP"}, "another type"),
        ({"expires_in": None}, "when its token ends"),
        ({"expires_in": -1}, "when its token ends"),
        ({"issued_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, "another token"),
    ],
)
async def test_a_token_that_is_not_what_was_asked_for_is_revoked_and_refused(
    change: dict[str, Any], words: str
) -> None:
    with server(pretending((200, {**GOOD, **change}))) as (url, asked):
        async with client(url) as one:
            with pytest.raises(Misconfigured, match=words):
                await one.issue(lease(scopes=(READ,)))
        assert parse_qs(asked[-1].body.decode())["token"] == ["tok"]
        assert asked[-1].path == "/revoke"


async def test_a_bearer_token_is_refused_where_a_bound_one_was_asked_for() -> None:
    with server(pretending((200, GOOD))) as (url, asked):
        async with client(url, dpop=True) as one:
            with pytest.raises(Misconfigured, match="another type than dpop"):
                await one.issue(lease(scopes=(READ,)))
            with pytest.raises(Misconfigured, match="DPoP"):
                await one.check()
        assert asked[1].path == "/token"


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "http://127.0.0.1:1"},
        {"token_endpoint": "http://127.0.0.1:1/token"},
        {"token_endpoint": "https://elsewhere.example/token"},
        {"token_endpoint": "http://169.254.169.254/latest"},
        {"token_endpoint": ""},
        {"revocation_endpoint": "https://elsewhere.example/revoke"},
    ],
)
async def test_metadata_that_sends_secrets_elsewhere_is_refused(metadata: dict[str, Any]) -> None:
    with server(pretending((200, GOOD), metadata=metadata)) as (url, asked):
        async with client(url) as one:
            with pytest.raises(Misconfigured):
                await one.issue(lease(scopes=(READ,)))
        assert [one.path for one in asked] == ["/.well-known/oauth-authorization-server"]


@pytest.mark.parametrize("status", [200, 302, 400, 401, 500, 503])
async def test_nothing_that_a_server_echoes_is_repeated(status: int) -> None:
    echo = {"error": MARKER, "error_description": MARKER, "scope": MARKER, "token_type": MARKER}
    with server(pretending((status, {**echo, "access_token": MARKER}))) as (url, _):
        async with client(url, method="client_secret_post") as one:
            with pytest.raises((Misconfigured, Unavailable)) as refused:
                await one.issue(lease(scopes=(READ,)))
            assert MARKER not in f"{refused.value!r}{refused.value}{refused.value.__context__}"
    with server(lambda _: (status, MARKER.encode() * 30_000)) as (url, _):
        async with client(url) as one:
            with pytest.raises((Misconfigured, Unavailable)) as refused:
                await one.check()
            assert MARKER not in f"{refused.value!r}{refused.value}"
