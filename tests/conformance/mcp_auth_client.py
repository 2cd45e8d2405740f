"""Midflight towards one upstream that wants OAuth: the client of the conformance suite.

A plane in memory, with the real backend, broker, injection, guard and upstream adapter. Three parts
are played: an operator adds the credential (which pins the authorization server), pins the tool and
reads refusals; a person logs in, by following the one redirect that a browser would; an agent calls
the tool. Nothing of the official SDK is in it. The suite starts `mcp_auth_knock.py`, which asks the
`Doorkeeper` here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

import httpx2

from midflight.adapters.clock import SystemClock
from midflight.adapters.upstream.http_reply import HttpRefused
from midflight.adapters.upstream.mcp_http import McpHttpUpstream
from midflight.apps.compose_broker import MAKERS
from midflight.domain.action import Action
from midflight.domain.errors import MidflightError, Misconfigured, Unavailable
from midflight.domain.lease import Credential, Injection, Lease, Placement
from midflight.domain.traits import Effect, Reach, Traits
from midflight.services.guard import Refused
from midflight.services.ports.logins import LogsIn
from midflight.services.ports.upstream import Reply
from midflight.testing import OPERATOR, ListSink, MemoryPlane, call, caller

NAME, UPSTREAM, TOOL = "suite", "one", "test-tool"
CALLBACK = "http://127.0.0.1:9/callback"
DOCUMENT = "https://conformance-test.local/client-metadata.json"
"""What the suite wants as the id of a client that has a metadata document."""
TRIES = 4
READ = Traits(effect=Effect.READ, reach=Reach.CLOSED, reviewed=True)


def given(scenario: str, context: dict[str, Any], url: str, *, folder: Path) -> dict[str, Any]:
    """The settings that an operator writes for an upstream; secrets by reference."""
    settings: dict[str, Any] = {"discover": True, "resource": url}
    if "client_id" in context:
        settings["client_id"] = context["client_id"]
    secrets: dict[str, str] = {}
    for name in ("client_secret", "private_key_pem", "idp_id_token"):
        if name in context:
            kept = folder / f"{scenario.replace('/', '-')}-{urlsplit(url).port}-{name}"
            kept.touch(mode=0o600)
            kept.write_text(context[name], encoding="utf-8")
            secrets[name] = f"file:{kept}"
    settings |= {
        setting: secrets[name]
        for name, setting in (("client_secret",) * 2, ("private_key_pem", "private_key"))
        if name in secrets
    }
    match scenario:
        case "auth/enterprise-managed-authorization":
            idp = {
                "issuer": context["idp_issuer"],
                "client_id": context["idp_client_id"],
                "method": "none",
                "subject_token": secrets["idp_id_token"],
            }
            return settings | {"grant": "id_jag", "idp": idp}
        case "auth/client-credentials-jwt" | "auth/client-credentials-basic":
            return settings
        case "auth/wif-jwt-bearer":
            return settings | {"grant": "jwt_bearer"}
        case "auth/basic-cimd":
            settings["client_id"] = DOCUMENT
        case "auth/2025-03-26-oauth-metadata-backcompat":
            # Before there was metadata of resources: the operator says which server it is.
            settings = {"issuer": f"http://{urlsplit(url).netloc}", "resource": url}
        case "auth/dpop" | "auth/dpop-nonce":
            settings["dpop"] = True
        case _:
            pass
    return settings | {"grant": "authorization_code"}


class Watched(McpHttpUpstream):
    """Keeps what the log says of refusals (`upstream_wants_authorization`), for the operator."""

    wanted: tuple[str, ...] = ()

    async def call(self, action: Action, **more: Any) -> Reply:
        try:
            return await super().call(action, **more)
        except HttpRefused as refused:
            self.wanted = () if refused.asked is None else refused.asked.scopes
            raise


class Suite(MemoryPlane):
    """The plane. Its upstream is the suite's, over HTTP."""

    def __init__(self, url: str, *, workload_token: str) -> None:
        async def subject_token(lease: Lease) -> str:
            del lease
            return workload_token

        self.watched = Watched(UPSTREAM, url)
        super().__init__(
            upstream=cast("Any", self.watched),
            clock=SystemClock(),
            makers=MAKERS,
            subject_token=subject_token if workload_token else None,
            lists_with=NAME,
        )

    async def add(self, settings: dict[str, Any], *, scopes: tuple[str, ...] = ()) -> Credential:
        """`midflight credential add`, with --replace the second time; then `credential login`."""
        rule = Injection(
            placement=Placement.HEADER, name="Authorization", template="Bearer {token}"
        )
        if settings.get("dpop"):
            rule = Injection(placement=Placement.DPOP)
        wanted = Credential(
            name=NAME,
            backend="oauth",
            upstreams=frozenset({UPSTREAM}),
            injections=(rule,),
            settings=settings,
            scopes=scopes,
        )
        pinned = await self.credentials.pinned(wanted)
        before = self.credentials.find(NAME)
        if before is not None:
            await self.broker.revoke(author=OPERATOR, credential=NAME, reason="replaced")
        await self.credentials.put(pinned, author=OPERATOR, replace=before is not None)
        if settings.get("grant") == "authorization_code":
            await self._log_in()
        return pinned

    async def use(self) -> None:
        """The tools are listed, an operator pins the one that is there, and a run calls it."""
        await self.catalogue.refresh(UPSTREAM)
        await self.pin(TOOL, READ)
        done = await self.guard.perform(call(TOOL), caller(), sink=ListSink())
        if isinstance(done, Refused):
            raise Unavailable(done.decision.reasons[0].text)
        assert done.reply.error is None, done.reply.error

    async def _log_in(self) -> None:
        """`midflight credential login`, and the person's browser."""
        backend = self.credentials.backend(NAME)
        assert isinstance(backend, LogsIn)
        begun = await backend.begin_login(CALLBACK)
        async with httpx2.AsyncClient(trust_env=False) as browser:
            answer = await browser.get(begun.url)
        where = answer.headers["location"]
        assert where.startswith(f"{CALLBACK}?"), where
        await backend.finish_login(begun.id, dict(parse_qsl(urlsplit(where).query)))


async def attempt(plane: Suite, settings: dict[str, Any]) -> str:
    """What became of it: `called`, or why not in words."""
    credential = await plane.add(settings)
    for _ in range(TRIES):
        try:
            await plane.use()
        except MidflightError:
            if not set(plane.watched.wanted) <= set(credential.scopes):
                # An operator reads in the log what is asked for, and decides that it is right.
                wider = dict.fromkeys((*credential.scopes, *plane.watched.wanted))
                credential = await plane.add(settings, scopes=tuple(wider))
                continue
            # An operator looks why.
            try:
                await plane.credentials.backend(NAME).check()
            except Misconfigured as changed:
                if "does not name the pinned" not in changed.message:
                    raise
                # And decides that the new server is right.
                credential = await plane.add(settings)
            else:
                raise
        else:
            return "called"
    return "refused too often"


async def play(scenario: str, context: dict[str, Any], url: str, *, folder: Path) -> str:
    """All three parts, once."""
    plane = Suite(url, workload_token=context.get("valid_jwt", ""))
    await plane.start(fetch=False)
    try:
        return await attempt(plane, given(scenario, context, url, folder=folder))
    except MidflightError as error:
        return f"{type(error).__name__}: {error.message}"
    finally:
        await plane.close()
        await plane.upstream.close()


class Doorkeeper:
    """Plays for whoever knocks. `outcomes` is what became of it, by scenario."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "door"
        self.outcomes: dict[str, str] = {}
        self._folder = folder

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = json.loads(await reader.readline())
        scenario: str = asked["scenario"]
        outcome = "no scenario of authorization"
        if scenario.startswith("auth/"):
            try:
                outcome = await play(scenario, asked["context"], asked["url"], folder=self._folder)
            except Exception as error:  # noqa: BLE001 -- reported by the suite and by the test
                outcome = f"crashed: {error!r}"
        self.outcomes[scenario] = outcome
        code = 0 if outcome == "called" else 3
        writer.write(json.dumps({"code": code, "said": outcome}).encode() + b"\n")
        await writer.drain()
        writer.close()


@asynccontextmanager
async def doorkeeper(folder: Path) -> AsyncGenerator[Doorkeeper]:
    """One that listens on a socket in a folder."""
    one = Doorkeeper(folder)
    listening = await asyncio.start_unix_server(one.answer, one.path, limit=1_048_576)
    async with listening:
        yield one


__all__ = ["DOCUMENT", "Doorkeeper", "Suite", "attempt", "doorkeeper", "given", "play"]
