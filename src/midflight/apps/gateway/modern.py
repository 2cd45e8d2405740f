"""The front for clients of 2026-07-28: every POST stands alone.

No session, no GET, no DELETE: a request carries its version and capabilities, headers mirror the
body, and closing the response is the cancellation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from midflight.apps.gateway.endpoint import Answered, Endpoint
from midflight.apps.gateway.exchange import OnDisconnect, finish, finish_at_once, while_connected
from midflight.apps.gateway.held import HeldCalls
from midflight.apps.gateway.listen import Listens
from midflight.apps.gateway.sinks import ModernSink, ResponseWriter
from midflight.apps.server.asgi import Receive, Send
from midflight.apps.server.at_once import AtOnce
from midflight.domain.decision import Deny
from midflight.domain.identity import Caller
from midflight.domain.value import JSONObject
from midflight.services.listing import Listing
from midflight.wire import refusal
from midflight.wire.jsonrpc import Request
from midflight.wire.mcp import headers as mcp_headers
from midflight.wire.mcp import meta

Headers = Mapping[bytes, Sequence[bytes]]


class ModernFront:
    """Answers decoded requests of modern clients."""

    def __init__(self, *, held: HeldCalls, listens: Listens, listing: Listing) -> None:
        """Shared by all endpoints."""
        self._held = held
        self._listing = listing
        self._listens = listens

    async def serve(
        self,
        request: Request,
        caller: Caller,
        endpoint: Endpoint,
        *,
        headers: Headers,
        receive: Receive,
        send: Send,
        on_disconnect: OnDisconnect,
        at_once: AtOnce | None,
    ) -> None:
        """Answer one request.

        Raises:
            Malformed: headers and body disagree, or metadata is missing (the caller answers 400).
        """
        schema = (
            endpoint.tool_schema(request.params.get("name"))
            if request.method == "tools/call"
            else None
        )
        mcp_headers.check_modern(headers, request, tool_schema=schema)
        passed = meta.passed(request.params["_meta"])
        sink = ModernSink(
            ResponseWriter(send, at_once=at_once, request=request),
            passed.get(meta.CLIENT_CAPABILITIES, {}),
            level=passed.get(meta.LOG_LEVEL),
        )
        if request.method == "subscriptions/listen":
            await self._listens.serve(request, caller, endpoint, sink=sink, receive=receive)
            return
        answered = await while_connected(
            on_disconnect,
            self._answer(request, caller, endpoint, sink, passed.get(meta.CLIENT_INFO) or {}),
        )
        if answered is not None:
            await finish(sink.writer, request, answered)

    async def _answer(
        self,
        request: Request,
        caller: Caller,
        endpoint: Endpoint,
        sink: ModernSink,
        client_info: JSONObject,
    ) -> Answered:
        resumes = self._held.knows(request)
        if resumes or request.method == "server/discover":
            # No action that the guard would judge, but nothing for who is revoked or unknown.
            seat = await self._listing.seat(caller)
            if isinstance(seat, Deny):
                return Answered(error=refusal.as_error(seat, ""))
            if not resumes:
                return Answered(result=await endpoint.discover())
            return await self._held.resume(request, caller, sink)

        def tell(answered: Answered) -> None:
            finish_at_once(sink.writer, answered)

        answer = endpoint.answer(
            request, caller, sink=sink, modern=True, client_info=client_info, tell=tell
        )
        if not (sink.capabilities and endpoint.may_be_asked(request.method)):
            return await answer
        task = asyncio.get_running_loop().create_task(answer)
        return await self._held.begin(request, caller, sink, task)


__all__ = ["Headers", "ModernFront"]
