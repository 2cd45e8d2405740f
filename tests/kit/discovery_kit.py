"""An upstream that says which authorization server stands for it, and servers that play along.

Two servers on loopback: `tools` is the upstream, `server` the authorization server. What each says
is changed by a test; what each was asked is kept, to look for what must not be there.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from credential_kit import MARKER, Asked, Secrets, credential, server
from oauth_backend_kit import GOOD, READ

from midflight.adapters.clock import SystemClock
from midflight.adapters.credentials.oauth import OAuthBackend

CALLBACK = "http://127.0.0.1:9/callback"


@dataclass
class Pair:
    """The two servers. `resource` and `metadata` change what they say; `extra` answers by path."""

    tools: str = ""
    server: str = ""
    resource: dict[str, Any] = field(default_factory=dict[str, Any])
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    challenge: str = ""
    token: Any = (200, GOOD)
    extra: dict[str, Any] = field(default_factory=dict[str, Any])
    upstream_asked: list[Asked] = field(default_factory=list[Asked])
    server_asked: list[Asked] = field(default_factory=list[Asked])

    def upstream(self, one: Asked) -> Any:
        """What the upstream answers."""
        path = urlsplit(one.path).path
        if path in self.extra:
            return self.extra[path]
        if path == "/mcp":
            return 401, {}, {"WWW-Authenticate": self.challenge or "Bearer"}
        if path == "/.well-known/oauth-protected-resource/mcp":
            said = {"resource": f"{self.tools}/mcp", "authorization_servers": [self.server]}
            return 200, {**said, **self.resource}
        return 404, {}

    def authorization(self, one: Asked) -> Any:
        """What the authorization server answers."""
        path = urlsplit(one.path).path
        if path in self.extra:
            return self.extra[path]
        if path == "/.well-known/oauth-authorization-server":
            base = self.server
            said = {
                "issuer": base,
                "token_endpoint": f"{base}/token",
                "authorization_endpoint": f"{base}/authorize",
                "registration_endpoint": f"{base}/register",
                "code_challenge_methods_supported": ["S256"],
                "authorization_response_iss_parameter_supported": True,
                "token_endpoint_auth_methods_supported": [
                    "client_secret_basic",
                    "client_secret_post",
                    "none",
                ],
            }
            return 200, {**said, **self.metadata}
        if path == "/register":
            return 201, {"client_id": "registered", "client_secret": "of-registration"}
        return self.token if path == "/token" else (404, {})

    def paths(self) -> list[str]:
        """What the authorization server was asked for."""
        return [urlsplit(one.path).path for one in self.server_asked]


@contextmanager
def pair(one: Pair | None = None) -> Generator[Pair]:
    """Both servers, running."""
    one = one or Pair()
    with (
        server(one.upstream) as (one.tools, one.upstream_asked),
        server(one.authorization) as (one.server, one.server_asked),
    ):
        yield one


class Kept:
    """`Logins` in memory."""

    def __init__(self) -> None:
        self.table: dict[str, str] = {}

    async def get(self, name: str) -> str | None:
        return self.table.get(name)

    async def put(self, name: str, text: str) -> None:
        self.table[name] = text

    async def forget(self, name: str) -> None:
        self.table.pop(name, None)


@asynccontextmanager
async def discovering(
    one: Pair, *, kept: Kept | None = None, scopes: tuple[str, ...] = (READ,), **more: Any
) -> AsyncGenerator[OAuthBackend]:
    """A backend that discovers, pinned to `server` unless `issuer` says otherwise."""
    settings: dict[str, Any] = {
        "discover": True,
        "resource": f"{one.tools}/mcp",
        "issuer": one.server,
    }
    if "grant" not in more:
        settings |= {"client_id": "midflight", "client_secret": "env:SECRET"}
    settings = {name: value for name, value in {**settings, **more}.items() if value is not None}
    backend = OAuthBackend(
        credential("oauth", settings, scopes=scopes),
        references=Secrets({"env:SECRET": MARKER}),
        clock=SystemClock(),
        logins=kept or Kept(),
    )
    try:
        yield backend
    finally:
        await backend.close()


async def logged_in(backend: OAuthBackend, **change: str) -> Any:
    """A person who agrees; `change` is what somebody made of the answer on its way."""
    begun = await backend.begin_login(CALLBACK)
    asked = dict(parse_qsl(urlsplit(begun.url).query))
    answer = {"code": "the-code", "state": asked["state"], "iss": begun.issuer, **change}
    said = {name: value for name, value in answer.items() if value}
    return await backend.finish_login(begun.id, said)


__all__ = ["CALLBACK", "Kept", "Pair", "discovering", "logged_in", "pair"]
