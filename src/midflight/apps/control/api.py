"""The control API: an ASGI app for the control socket and, if configured, loopback TCP.

It establishes who calls before it routes, decodes strictly, and answers JSON; the verbs are those
of the services. Nothing here decides what an operator may do beyond being one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from traceback import extract_tb
from typing import Any

import msgspec
import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from midflight.apps.control import openapi
from midflight.apps.control.operation import MAX_BODY_BYTES, Empty, Operation
from midflight.apps.control.operators import Operator, Operators
from midflight.apps.control.refusals import Refusals
from midflight.apps.server.asgi import Headers, Receive, Scope, Send, header_values
from midflight.apps.server.origin import OriginPolicy
from midflight.apps.server.peer import scope_peer
from midflight.domain.errors import (
    Forbidden,
    Malformed,
    MidflightError,
    Misconfigured,
    Unauthenticated,
)
from midflight.domain.value import JSONObject

_HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
_OPERATOR = "operator"
_log: Any = structlog.get_logger(__name__)


class ControlApi:
    """The ASGI app. One instance may serve several listeners."""

    def __init__(
        self,
        *,
        operations: Sequence[Operation[Any]],
        operators: Operators,
        refusals: Refusals,
        origins: OriginPolicy,
    ) -> None:
        """`origins` knows which Host and Origin headers are ours."""
        self._operators = operators
        self._refusals = refusals
        self._origins = origins
        made: list[JSONObject] = []

        async def describe(given: Empty, operator: Operator) -> JSONObject:
            del given, operator
            if not made:  # a tenth of a second, which neither a start nor a call waits for
                made.append(await asyncio.to_thread(openapi.document, operations))
            return made[0]

        described = Operation(
            method="GET",
            path="/v1/openapi.json",
            summary="This document.",
            input=Empty,
            answer=dict[str, Any],
            act=describe,
        )
        self._app = Starlette(
            routes=[
                Route(
                    operation.path,
                    self._endpoint(operation),
                    methods=[operation.method],
                    name=f"{operation.method} {operation.path}",
                )
                for operation in (described, *operations)
            ],
            exception_handlers={HTTPException: _no_route},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Other kinds of connection are closed unanswered."""
        if scope["type"] != "http":
            return
        try:
            operator = self._identify(scope)
        except MidflightError as error:
            self._refusals.note(scope_peer(scope).address, error)
            await refusal(error)(scope, receive, send)
            return
        scope["state"][_OPERATOR] = operator
        await self._app(scope, receive, send)

    def _identify(self, scope: Scope) -> Operator:
        foreign = self._origins.check(scope)
        if foreign is not None:
            raise Forbidden(foreign.reason, hint=foreign.hint)
        peer = scope_peer(scope)
        if peer.kind == "unix":
            return self._operators.from_socket(peer)
        return self._operators.from_token(_bearer(scope["headers"]))

    def _endpoint(self, operation: Operation[Any]) -> Callable[[Request], Awaitable[Response]]:
        async def serve(request: Request) -> Response:
            operator: Operator = getattr(request.state, _OPERATOR)
            if operation.socket_only and not operator.on_socket:
                # Before the body is read: what it asks for makes no difference.
                error = Forbidden(
                    "This is done over the control socket only, whatever the token.",
                    hint="Run the midflight command on the machine of the plane.",
                )
                self._refusals.note(scope_peer(request.scope).address, error)
                return refusal(error)
            return await _act(operation, request)

        return serve


def refusal(error: MidflightError) -> Response:
    """The answer for an error: `{code, message, hint}`."""
    headers = dict(_HEADERS)
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = 'Bearer realm="midflight control"'
    problems, status = (), error.http_status
    if isinstance(error, Misconfigured):
        # What an operator handed in is wrong, not the server.
        problems, status = error.problems, 422
    body = openapi.Refusal(
        code=error.code, message=error.message, hint=error.hint, problems=problems
    )
    return Response(
        msgspec.json.encode(body),
        status_code=status,
        headers=headers,
        media_type="application/json",
    )


async def _act(operation: Operation[Any], request: Request) -> Response:
    """Do it for the operator who was established; whatever goes wrong becomes an answer."""
    try:
        given = operation.read(
            path=request.path_params,
            query=request.query_params.multi_items(),
            body=await _body(request),
            content_type=request.headers.get("content-type", ""),
        )
        answer = await operation.act(given, getattr(request.state, _OPERATOR))
    except MidflightError as error:
        return refusal(error)
    except Exception as error:  # noqa: BLE001 -- the rim: what is unforeseen is told as such
        _log.error(
            "control_request_failed",
            operation=f"{operation.method} {operation.path}",
            # Its text may hold what was sent; where it happened cannot.
            error=type(error).__name__,
            where=[f"{at.filename}:{at.lineno}" for at in extract_tb(error.__traceback__)],
        )
        return refusal(
            MidflightError(
                "Midflight failed to do this.",
                hint="Its log says where (control_request_failed).",
            )
        )
    return Response(msgspec.json.encode(answer), headers=_HEADERS, media_type="application/json")


async def _body(request: Request) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise Malformed(f"The body is larger than {MAX_BODY_BYTES:,} bytes.")
        parts.append(part)
    return b"".join(parts)


def _bearer(headers: Headers) -> str:
    values = header_values(headers, b"authorization")
    if len(values) == 1:
        scheme, _, token = values[0].decode("latin-1").partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            return token.strip()
    raise Unauthenticated(
        "The control API on TCP needs an operator token.",
        hint="Mint one with `midflight operator token`, or call over the control socket.",
    )


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known = {404: "There is no such operation.", 405: "This operation takes another method."}
    body = openapi.Refusal(
        code="no_operation",
        message=known.get(error.status_code, "The request cannot be served."),
        hint="/v1/openapi.json lists the operations.",
    )
    del request
    return Response(
        msgspec.json.encode(body),
        status_code=error.status_code,
        headers=_HEADERS | dict(error.headers or {}),
        media_type="application/json",
    )


__all__ = ["ControlApi", "refusal"]
