"""One HTTP exchange: do the work, watch the client, send the final message."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from midflight.apps.gateway.endpoint import Answered
from midflight.apps.gateway.sinks import ResponseWriter
from midflight.apps.server.asgi import Receive
from midflight.wire import jsonrpc
from midflight.wire.jsonrpc import Request


async def with_disconnect(receive: Receive, work: Coroutine[Any, Any, Answered]) -> Answered | None:
    """Do the work, and cancel it when the client goes. None if it went."""
    task = asyncio.ensure_future(work)
    watch = asyncio.ensure_future(gone(receive))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return None
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise
    finally:
        watch.cancel()


async def gone(receive: Receive) -> None:
    """Return when the client has closed its side of the request."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def finish(writer: ResponseWriter, request: Request, answered: Answered) -> None:
    """Send the final message of a response."""
    if answered.error is not None:
        error = answered.error
        message = jsonrpc.encode_error(
            request.id, code=error["code"], message=error["message"], data=error.get("data")
        )
    else:
        message = jsonrpc.encode_result(request.id, answered.result or {})
    await writer.finish(message, status=answered.status)


__all__ = ["finish", "gone", "with_disconnect"]
