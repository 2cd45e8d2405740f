"""Midflight towards one upstream that wants OAuth: the client of the conformance suite.

A plane in memory with its real credentials, broker and upstream adapter. Three parts are played:
an operator adds the credential (which pins the authorization server) and reads refusals; a person
logs in, by following the one redirect that a browser would; a run calls a tool. Nothing of the
official SDK is in it. The suite starts `mcp_auth_knock.py`, which asks the `Doorkeeper` here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest

from midflight.adapters.clock import SystemClock
from midflight.adapters.upstream.http_reply import HttpRefused
from midflight.adapters.upstream.mcp_http import McpHttpUpstream
from midflight.apps.compose_backends import RequestSigners
from midflight.apps.compose_broker import BrokerParts
from midflight.domain.action import Action, ActionKind
from midflight.domain.errors import MidflightError, Misconfigured
from midflight.domain.lease import Credential, Injection, Lease, Placement
from midflight.domain.traits import Effect, Reach, Traits
from midflight.services.broker import Held
from midflight.services.ports.injection import Attachment
from midflight.services.ports.logins import LogsIn
from midflight.services.ports.upstream import RunSeat
from midflight.testing import (
    OPERATOR,
    WORKLOAD,
    FixedEngine,
    ListSink,
    MemoryPlane,
    ScriptedUpstream,
)

NAME, UPSTREAM = "suite", "one"
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
    for name, setting in (("client_secret", "client_secret"), ("private_key_pem", "private_key")):
        if name in context:
            kept = folder / f"{scenario.replace('/', '-')}-{urlsplit(url).port}-{setting}"
            kept.touch(mode=0o600)
            kept.write_text(context[name], encoding="utf-8")
            settings[setting] = f"file:{kept}"
    match scenario:
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
    return settings | {"grant": "authorization_code"}


class Suite(MemoryPlane):
    """The plane."""

    def __init__(self, url: str, *, workload_token: str) -> None:
        super().__init__(
            upstream=ScriptedUpstream(UPSTREAM, ()), engine=FixedEngine(), clock=SystemClock()
        )

        async def subject_token(lease: Lease) -> str:
            del lease
            return workload_token

        parts = BrokerParts(
            store=self.store,
            recorder=self.ledger,
            wrap=self.sealer._wrap,
            clock=self.clock,
            telemetry=self.telemetry,
            engine=self.engine,
            interruption=self.interruption,
            monitors=self.monitors,
            subject_token=subject_token if workload_token else None,
        )
        self.broker, self.credentials = parts.broker, parts.credentials
        self.signers = RequestSigners(clock=self.clock)
        self.remote = McpHttpUpstream(UPSTREAM, url)

    async def add(self, settings: dict[str, Any], *, scopes: tuple[str, ...] = ()) -> Credential:
        """`midflight credential add`, with --replace the second time."""
        dpop = bool(settings.get("dpop"))
        wanted = Credential(
            name=NAME,
            backend="oauth",
            upstreams=frozenset({UPSTREAM}),
            injections=(
                Injection(placement=Placement.DPOP)
                if dpop
                else Injection(
                    placement=Placement.HEADER, name="Authorization", template="Bearer {token}"
                ),
            ),
            settings=settings,
            scopes=scopes,
        )
        pinned = await self.credentials.pinned(wanted)
        before = self.credentials.find(NAME)
        if before is not None:
            await self.broker.revoke(author=OPERATOR, credential=NAME, reason="replaced")
        await self.credentials.put(pinned, author=OPERATOR, replace=before is not None)
        if settings.get("grant") == "authorization_code":
            await self.log_in()
        return pinned

    async def log_in(self) -> None:
        """`midflight credential login`, and the person's browser."""
        backend = self.credentials.backend(NAME)
        assert isinstance(backend, LogsIn)
        begun = await backend.begin_login(CALLBACK)
        async with httpx2.AsyncClient(trust_env=False) as browser:
            answer = await browser.get(begun.url)
        where = answer.headers["location"]
        assert where.startswith(f"{CALLBACK}?"), where
        await backend.finish_login(begun.id, dict(parse_qsl(urlsplit(where).query)))

    async def call(self) -> None:
        """A run lists the tools of the upstream and calls the first, each with a lease."""
        workload = await self.inventory.get(WORKLOAD)
        run = await self.runs.open_run(workload=workload, intent="Call it.", author=OPERATOR)
        live = self.runs.live(run.id)
        assert live is not None
        for action in (_list(), _tool()):
            held = await self.broker.lease_for(live, workload, NAME, upstream=UPSTREAM, traits=READ)
            assert isinstance(held, Held), held
            try:
                reply = await self.remote.call(
                    action,
                    seat=RunSeat(run=run.id, workload=WORKLOAD),
                    flight=_Flight(),
                    sink=ListSink(),
                    attachment=self._attachment(held),
                )
            finally:
                self.broker.done(held)
            assert reply.error is None, reply.error

    def _attachment(self, held: Held) -> Attachment:
        rule = held.credential.injections[0]
        if rule.placement is Placement.DPOP:
            signer = self.signers(held.credential, rule.placement, held.secret)
            return Attachment(leases=(held.lease.id,), signers=(signer,))
        value = rule.template.format_map(held.secret.fields)
        return Attachment(leases=(held.lease.id,), headers=((rule.name, value),))


class _Flight:
    """Nobody cuts it."""

    def look(self) -> None: ...
    def on_cut(self, cut: Any) -> None: ...
    def left(self, nbytes: int) -> None: ...
    def came(self, nbytes: int) -> None: ...


def _list() -> Action:
    return Action(
        kind=ActionKind.LIST, upstream=UPSTREAM, name="tools/list", method="tools/list", params={}
    )


def _tool() -> Action:
    return Action(
        kind=ActionKind.CALL_TOOL,
        upstream=UPSTREAM,
        name="test-tool",
        method="tools/call",
        params={"name": "test-tool", "arguments": {}},
        arguments={},
    )


async def attempt(plane: Suite, settings: dict[str, Any]) -> str:
    """What became of it: `called`, or why not in words."""
    credential = await plane.add(settings)
    for _ in range(TRIES):
        try:
            await plane.call()
        except HttpRefused as refused:
            asked = refused.asked
            if refused.status == 403 and asked is not None:
                # An operator reads in the log what is asked for, and decides that it is right.
                wider = tuple(dict.fromkeys((*credential.scopes, *asked.scopes)))
                if wider == credential.scopes:
                    raise  # it asks for nothing that the credential has not
                credential = await plane.add(settings, scopes=wider)
            elif refused.status == 401:
                # An operator looks why, and decides that the new server is right.
                with pytest.raises(Misconfigured, match="does not name the pinned"):
                    await plane.credentials.backend(NAME).check()
                credential = await plane.add(settings)
            else:
                raise
        else:
            return "called"
    return "refused too often"


async def play(scenario: str, context: dict[str, Any], url: str, *, folder: Path) -> str:
    """All three parts, once."""
    plane = Suite(url, workload_token=context.get("valid_jwt", ""))
    await plane.start()
    await plane.broker.start()
    try:
        return await attempt(plane, given(scenario, context, url, folder=folder))
    except MidflightError as error:
        return f"{type(error).__name__}: {error.message}"
    finally:
        await plane.broker.close()
        await plane.remote.close()
        await plane.close()


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
