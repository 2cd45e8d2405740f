"""Answers to HTTP/1.0, which knows no chunks: a body of unknown length ends with the connection."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from midflight.apps.server.asgi import Event, Send


def ended_by_closing(cycle: RequestResponseCycle, send: Send) -> Send:
    """Wrap the `send` of one request.

    uvicorn would send chunks. Its cycle counts what Content-Length still allows; where there is
    none, each piece allows itself here.
    """
    framed = True

    async def send_old(event: Event) -> None:
        nonlocal framed
        if event["type"] == "http.response.start":
            framed = any(name.lower() == b"content-length" for name, _ in event["headers"])
            if not framed:
                cycle.chunked_encoding = False
        elif not framed:
            cycle.expected_content_length = len(event.get("body", b""))
        await send(event)

    return send_old


__all__ = ["ended_by_closing"]
