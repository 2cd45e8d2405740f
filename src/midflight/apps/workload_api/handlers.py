"""Calls as gRPC wants them: each is wrapped, and whatever goes wrong becomes a status.

What a caller sees is a status and one sentence, never what broke inside.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import grpc
import structlog

from midflight.apps.workload_api.refused import Refused
from midflight.domain.errors import Forbidden, Interrupted, MidflightError
from midflight.services.mint_rates import TooOften

MAX_REQUEST_BYTES = 65_536
OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_send_message_length", 16 * 1_048_576),
    ("grpc.max_metadata_size", 16_384),
    ("grpc.absolute_max_metadata_size", 16_384),
    ("grpc.max_concurrent_streams", 32),
    ("grpc.max_connection_idle_ms", 300_000),
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.so_reuseport", 0),
)
"""Bounds of a server that strangers reach."""

log = structlog.get_logger(__name__)

Failed = Callable[[Any, Exception], Awaitable[None]]
"""Told the context and what went wrong; it ends the call (`abort`)."""


class Handlers:
    """Makes handlers of calls, by the message classes of one API."""

    def __init__(self, classes: dict[str, Any], failed: Failed) -> None:
        """`classes` has `NAMERequest` and `NAMEResponse` for every call NAME."""
        self._classes = classes
        self._failed = failed

    def unary(self, name: str, act: Callable[[Any, Any], Awaitable[Any]]) -> Any:
        """One answer."""

        async def told(request: Any, context: Any) -> Any:
            try:
                return await act(request, context)
            except Exception as error:  # noqa: BLE001 -- each becomes a status
                await self._failed(context, error)

        return grpc.unary_unary_rpc_method_handler(told, *self._codec(name))

    def stream(self, name: str, act: Callable[[Any, Any], AsyncGenerator[Any]]) -> Any:
        """Answers until it ends."""

        async def told(request: Any, context: Any) -> AsyncGenerator[Any]:
            try:
                async with aclosing(act(request, context)) as answers:
                    async for answer in answers:
                        yield answer
            except Exception as error:  # noqa: BLE001 -- each becomes a status
                await self._failed(context, error)

        return grpc.unary_stream_rpc_method_handler(told, *self._codec(name))

    def _codec(self, name: str) -> tuple[Any, Any]:
        return (
            self._classes[f"{name}Request"].FromString,
            self._classes[f"{name}Response"].SerializeToString,
        )


async def abort(
    context: Any, error: Exception, trailing: tuple[tuple[str, bytes], ...] = ()
) -> None:
    """End a call by what went wrong, with `trailing` metadata."""
    match error:
        case Refused():
            status, text = error.status, error.text
        case Forbidden() | Interrupted():
            status, text = grpc.StatusCode.PERMISSION_DENIED, error.message
        case TooOften():
            status, text = grpc.StatusCode.RESOURCE_EXHAUSTED, error.message
        case MidflightError():
            log.warning("spiffe_call_failed", why=error.message)
            status, text = grpc.StatusCode.UNAVAILABLE, error.message
        case _:
            log.error("spiffe_call_failed", error=type(error).__name__)
            status, text = grpc.StatusCode.INTERNAL, "The call failed."
    await context.abort(status, text, trailing_metadata=trailing)


__all__ = ["MAX_REQUEST_BYTES", "OPTIONS", "Handlers", "abort"]
