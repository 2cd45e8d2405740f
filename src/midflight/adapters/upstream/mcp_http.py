"""An MCP server behind a URL: the `Upstream` of Streamable HTTP, both generations.

Modern: each action is one POST that stands for itself, and closing its connection cancels it.
Legacy: each run has sessions of its own (`http_legacy`). Only configured headers and what is leased
go upstream, none of a client's. Above stands the guard, below `certified` and `session`.
"""

from __future__ import annotations

import functools
import itertools
import ssl
from collections.abc import Mapping
from typing import Any, cast

from midflight.adapters.upstream import http_reply
from midflight.adapters.upstream.certified import Clients
from midflight.adapters.upstream.handshake import (
    CATALOGUE,
    discovered,
    with_modern_meta,
)
from midflight.adapters.upstream.http2 import Http2Client
from midflight.adapters.upstream.http_client import (
    HttpClient,
    HttpLimits,
    HttpTimeouts,
    header_line,
    header_lines,
)
from midflight.adapters.upstream.http_legacy import LegacySession
from midflight.adapters.upstream.http_pool import HttpPool
from midflight.adapters.upstream.once import Once
from midflight.adapters.upstream.passage import CallTimeouts, Passage
from midflight.adapters.upstream.session import Conversation
from midflight.domain.action import Action, ActionKind
from midflight.domain.canonical import canonical
from midflight.domain.errors import (
    LeaseUnavailable,
    Misconfigured,
    UpstreamBroken,
    UpstreamUnavailable,
)
from midflight.domain.lease import Placement
from midflight.domain.placing import is_reserved
from midflight.domain.value import JSONObject
from midflight.services.ports.injection import NOTHING, Attachment
from midflight.services.ports.upstream import (
    Flight,
    NoticeHandler,
    Reply,
    RunSeat,
    ServerInfo,
    Sink,
)
from midflight.wire.jsonrpc import Response, encode_request
from midflight.wire.malformed import HEADER_MISMATCH
from midflight.wire.mcp.headers import for_upstream
from midflight.wire.mcp.versions import MODERN

# Requests that change nothing, which may be sent again when a kept connection was already dead.
_ASKS_ONLY = frozenset(
    {ActionKind.LIST, ActionKind.READ_RESOURCE, ActionKind.GET_PROMPT, ActionKind.COMPLETE}
)
_COMMON = (
    header_line("content-type", http_reply.JSON)
    + header_line("accept", f"{http_reply.JSON}, {http_reply.EVENTS}")
    + header_line("user-agent", "midflight")
)
_MAX_LIST_PAGES = 50
_MAX_MIRRORED_TOOLS = 10_000
_MAX_PLAIN_TOOLS = 1_000


class McpHttpUpstream:
    """One upstream over Streamable HTTP.

    Args:
        name: its name in the settings.
        url: its MCP endpoint.
        headers: sent with every request; may hold credentials.
        tls: context for https; the default verifies against the system's authorities.
        proxy: URL of a forward proxy; uses the `httpx2` client, as does `http2`.
        backoff: seconds before a lost stream of notices is opened again, doubling up to a minute.

    Raises:
        Misconfigured: the URL or a header cannot be used.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        http2: bool = False,
        proxy: str | None = None,
        limits: HttpLimits | None = None,
        http_timeouts: HttpTimeouts | None = None,
        timeouts: CallTimeouts | None = None,
        backoff: float = 1.0,
    ) -> None:
        self._name = name
        self._limits = limits or HttpLimits()
        self._timeouts = timeouts or CallTimeouts()
        lines = _COMMON + _configured(headers or {}, name)

        def make(context: ssl.SSLContext | None) -> HttpClient:
            if http2 or proxy is not None:
                return Http2Client(
                    name,
                    url,
                    headers=lines,
                    tls=context,
                    http2=http2,
                    proxy=proxy,
                    limits=self._limits,
                    timeouts=http_timeouts,
                )
            return HttpPool(
                name,
                url,
                headers=lines,
                tls=context,
                limits=self._limits,
                timeouts=http_timeouts,
            )

        self._clients = Clients(make(tls), make, base=tls)
        placements = {
            Placement.HEADER,
            Placement.QUERY,
            Placement.DPOP,
            Placement.SIGV4,
            Placement.ARGUMENT,
        }
        if url.lower().startswith("https:"):
            placements.add(Placement.MTLS)
        self._placements = frozenset(placements)
        self._backoff = backoff
        self._conversation = Conversation(name, timeouts=self._timeouts, backoff=backoff)
        self._modern = _ModernLink(self._clients, name, self._limits)
        # What is at the other end, and None once that is in doubt.
        self._generation: Once[ServerInfo] = Once(self._detect)
        self._sessions: dict[str, dict[bytes, LegacySession]] = {}
        self._closed = False

    @property
    def name(self) -> str:
        """Its name in the settings."""
        return self._name

    @property
    def placements(self) -> frozenset[Placement]:
        """Everything but an environment; certificates over https only."""
        return self._placements

    async def start(self, notices: NoticeHandler) -> None:
        """Tell notices to `notices`. Nothing is sent yet."""
        self._conversation.start(notices)

    async def describe(self, *, attachment: Attachment = NOTHING) -> ServerInfo:
        """Reach it again and say what it is. `UpstreamUnavailable` if it does not answer."""
        if attachment.leases:
            self._take(attachment, CATALOGUE)
        self._generation.forget()
        await self._drop(CATALOGUE.run)
        try:
            return await self._generation.get()
        except UpstreamBroken as error:
            raise UpstreamUnavailable(
                error.message, hint="It was being reached; nothing of the action has left."
            ) from None

    async def call(
        self,
        action: Action,
        *,
        seat: RunSeat,
        flight: Flight,
        sink: Sink,
        attachment: Attachment = NOTHING,
    ) -> Reply:
        """Act. See `Upstream.call`."""
        with self._conversation.passage(
            action, seat=seat, flight=flight, sink=sink, attachment=attachment
        ) as passage:
            if attachment is not NOTHING:
                self._take(attachment, seat)
            info = self._generation.value or await self._reach(
                CATALOGUE if attachment is NOTHING else seat
            )
            passage.check()
            try:
                if info.modern:
                    return await self._act_modern(passage)
                session = await self._session(seat)
                passage.check()
                return await self._conversation.perform(session, passage)
            except http_reply.HttpRefused as refused:
                if refused.status in {400, 404, 405, 406, 415}:
                    # Not what this generation says: look again before the next call.
                    self._generation.forget()
                raise

    async def end_run(self, run: str) -> None:
        """Close the run's sessions."""
        self._conversation.forget(run)
        await self._drop(run)
        self._clients.forget(run)

    def release(self, lease: str, *, drain: bool) -> None:
        """See `Upstream.release`. Sessions that were opened with a lease end with it."""
        for run in self._clients.release(lease, drain=drain):
            if not drain:
                self._conversation.beside(functools.partial(self._drop, run))

    async def close(self) -> None:
        """Close everything."""
        self._closed = True
        self._modern.alive = False
        await self._generation.cancel()
        for run in list(self._sessions):
            await self._drop(run)
        await self._conversation.close()
        await self._clients.close()

    # Inside

    def _take(self, attachment: Attachment, seat: RunSeat) -> None:
        if attachment.env:
            raise LeaseUnavailable(
                f"Upstream {self._name} is reached over HTTP and takes no environment.",
                hint="Place the credential into a header.",
            )
        if attachment.certificate is not None and Placement.MTLS not in self._placements:
            raise LeaseUnavailable(
                f"Upstream {self._name} is reached without TLS and takes no certificate.",
                hint="Give its URL with https.",
            )
        self._clients.note(seat.run, attachment)

    async def _reach(self, seat: RunSeat) -> ServerInfo:
        """The generation, before anything of an action has left.

        An upstream that wants a credential for everything is asked with that of the run.
        """
        if self._closed:
            raise UpstreamUnavailable(f"Upstream {self._name} is being closed.")
        try:
            if seat is CATALOGUE:
                return await self._generation.get()
            self._generation.value = await self._detect(seat)
        except UpstreamBroken as error:
            raise UpstreamUnavailable(
                error.message, hint="It was being reached; nothing of the action has left."
            ) from None
        return self._generation.value

    async def _detect(self, seat: RunSeat = CATALOGUE) -> ServerInfo:
        with self._conversation.own_passage("server/discover", seat=seat) as passage:
            params = with_modern_meta({}, info={}, capabilities={})
            try:
                response = await self._modern.exchange(passage, "server/discover", params)
            except http_reply.HttpRefused as refused:
                if refused.status not in {400, 404, 405, 406, 415, 422}:
                    raise
                info = None
            else:
                info = discovered(response, peer=self._name)
        if info is None:
            session = await self._session(seat)
            return session.info
        self._modern.info = info
        if seat is CATALOGUE and not self._closed:
            self._conversation.opened(self._modern, run=CATALOGUE.run)
        return info

    async def _act_modern(self, passage: Passage) -> Reply:
        reply = await self._conversation.perform(self._modern, passage)
        method = passage.action.method
        if method == "tools/list" and reply.result is not None:
            self._modern.learn(reply.result)
        elif (
            method == "tools/call"
            and reply.error is not None
            and reply.error.get("code") == HEADER_MISMATCH
        ):
            # Nothing was done: the upstream mirrors other arguments than we knew (Streamable
            # HTTP §Client Behavior). Learn which, and say it once more.
            await self._relist()
            return await self._conversation.perform(self._modern, passage)
        return reply

    async def _relist(self) -> None:
        cursor: Any = None
        with self._conversation.own_passage("tools/list") as passage:
            for _ in range(_MAX_LIST_PAGES):
                params: JSONObject = {} if cursor is None else {"cursor": cursor}
                params = with_modern_meta(params, info={}, capabilities={})
                response = await self._modern.exchange(passage, "tools/list", params)
                if response.result is None:
                    return
                self._modern.learn(response.result)
                cursor = response.result.get("nextCursor")
                if type(cursor) is not str:
                    return

    async def _session(self, seat: RunSeat) -> LegacySession:
        """The seat's session, opened if need be."""
        sessions = self._sessions.setdefault(seat.run, {})
        key = canonical(seat.capabilities)
        session = sessions.get(key)
        if session is None:
            session = LegacySession(
                self._clients.seat(seat.run),
                seat,
                peer=self._name,
                conversation=self._conversation,
                limits=self._limits,
                backoff=self._backoff,
            )
            sessions[key] = session
        try:
            await session.open()
        except BaseException:
            if not session.is_open and sessions.get(key) is session:
                del sessions[key]
                if not sessions and self._sessions.get(seat.run) is sessions:
                    del self._sessions[seat.run]
            raise
        return session

    async def _drop(self, run: str) -> None:
        for session in self._sessions.pop(run, {}).values():
            await session.close()


class _ModernLink:
    """The modern generation over HTTP: nothing between one request and the next."""

    def __init__(self, clients: Clients, peer: str, limits: HttpLimits) -> None:
        self.info = ServerInfo(modern=True, version=MODERN, capabilities={}, info={})
        self.alive = True
        self._clients = clients
        self._peer = peer
        self._limits = limits
        self._ids = itertools.count(1)
        # Input schemas of the tools that want arguments mirrored in headers; of no other.
        self._mirrored: dict[str, JSONObject] = {}
        # Headers of calls of the others, by the tool's name, which is all that is in them.
        self._plain: dict[str, bytes] = {}

    async def exchange(self, passage: Passage, method: str, params: JSONObject) -> Response:
        """One POST, its stream and its response."""
        request_id = next(self._ids)
        params = passage.addressed(params, request_id)
        response = await self._clients.of(passage).send(
            b"POST",
            self._headers(method, params),
            encode_request(request_id, method, params),
            gate=passage,
            replay=passage.action.kind in _ASKS_ONLY,
        )
        passage.abandon = lambda _: response.close()
        try:
            if not 200 <= response.status < 300:
                return await http_reply.refusal(response, passage, peer=self._peer)
            kind = http_reply.content_type(response)
            if kind == http_reply.JSON:
                return await http_reply.read_json(response, passage, batches=False)
            if kind != http_reply.EVENTS:
                raise passage.broken("answered with neither JSON nor an event stream")
            final = await http_reply.read_events(
                response,
                passage,
                functools.partial(passage.take, None),
                http_reply.Cursor(),
                max_event=self._limits.body,
                batches=False,
            )
            if final is None:
                raise passage.broken("ended its stream without an answer")
            return final
        finally:
            response.close()
            passage.abandon = None

    async def notify(self, passage: Passage, method: str, params: JSONObject) -> None:
        """The generation has no notifications from clients."""

    def _headers(self, method: str, params: JSONObject) -> bytes:
        if method != "tools/call":
            return header_lines(for_upstream(method, params, MODERN, None), upstream=self._peer)
        name: str = params["name"]
        schema = self._mirrored.get(name)
        if schema is not None:
            return header_lines(for_upstream(method, params, MODERN, schema), upstream=self._peer)
        lines = self._plain.get(name)
        if lines is None:
            made = for_upstream(method, {"name": name}, MODERN, None)
            lines = header_lines(made, upstream=self._peer)
            if len(self._plain) < _MAX_PLAIN_TOOLS:
                self._plain[name] = lines
        return lines

    def learn(self, result: JSONObject) -> None:
        """Note which listed tools want arguments mirrored in headers."""
        tools = result.get("tools")
        if type(tools) is not list:
            return
        for listed in cast("list[Any]", tools):
            tool = cast("JSONObject", listed) if type(listed) is dict else {}
            name, schema = tool.get("name"), tool.get("inputSchema")
            if type(name) is not str:
                continue
            if type(schema) is dict and b'"x-mcp-header"' in canonical(cast("JSONObject", schema)):
                if len(self._mirrored) < _MAX_MIRRORED_TOOLS:
                    self._mirrored[name] = cast("JSONObject", schema)
            else:
                self._mirrored.pop(name, None)


def _configured(headers: Mapping[str, str], name: str) -> bytes:
    problems: list[str] = []
    lines: list[bytes] = []
    for key, value in headers.items():
        if is_reserved(key):
            problems.append(f"header {key} is Midflight's own")
            continue
        try:
            lines.append(header_line(key, value))
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise Misconfigured(
            f"The headers of upstream {name} cannot be used.",
            problems,
            hint="Configure only what authenticates Midflight to it.",
        )
    return b"".join(lines)


__all__ = ["McpHttpUpstream"]
