"""A Streamable HTTP reply, JSON or SSE, read to the final response of one passage."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

import structlog

from midflight.adapters.upstream.http_client import HttpResponse
from midflight.adapters.upstream.passage import Passage
from midflight.domain.errors import Malformed, UpstreamBroken
from midflight.wire import sse
from midflight.wire.jsonrpc import Message, Response, decode_batch, decode_message, is_batch
from midflight.wire.oauth.metadata import AskedFor, read_challenge

log = structlog.get_logger(__name__)

JSON = "application/json"
EVENTS = "text/event-stream"
_USUAL = frozenset({JSON, EVENTS})
_MAX_SHOWN_STATUS = 599


class HttpRefused(UpstreamBroken):
    """An HTTP status instead of an answer. `status` is it, `asked` what a 401 or 403 asks for.

    What is asked for is the upstream's text, so it is for operators and logs, not in the message.
    """

    def __init__(
        self, message: str, *, status: int, hint: str = "", asked: AskedFor | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.asked = asked


class Cursor:
    """Where a legacy stream was, so that it can be resumed (2025-11-25, Resumability)."""

    __slots__ = ("event_id", "events", "retry")

    def __init__(self) -> None:
        self.event_id: str | None = None
        self.retry: int | None = None
        self.events = 0


def content_type(response: HttpResponse) -> str:
    """The media type, without its parameters."""
    said = response.header(b"content-type")
    return said if said in _USUAL else said.partition(";")[0].strip().lower()


def messages(raw: bytes, passage: Passage, *, batches: bool) -> Iterator[Message]:
    """The messages of one document.

    Raises:
        UpstreamBroken: they do not decode.
    """
    try:
        if batches and is_batch(raw):
            yield from decode_batch(raw)
        else:
            yield decode_message(raw)
    except Malformed as problem:
        raise passage.broken(f"sent a message that cannot be used: {problem.message}") from None


async def read_json(response: HttpResponse, passage: Passage, *, batches: bool) -> Response:
    """The response in a JSON body.

    Raises:
        UpstreamBroken: there is none to this request.
    """
    raw = await response.read()
    if not batches:
        try:
            message = decode_message(raw)
        except Malformed as problem:
            text = f"sent a message that cannot be used: {problem.message}"
            raise passage.broken(text) from None
        if type(message) is Response:
            return passage.own(message)
        raise passage.broken("sent something else than an answer")
    for message in messages(raw, passage, batches=True):
        if type(message) is Response:
            return passage.own(message)
    raise passage.broken("sent something else than an answer")


async def read_events(
    response: HttpResponse,
    passage: Passage,
    take: Callable[[Message], Awaitable[Response | None]],
    cursor: Cursor,
    *,
    max_event: int,
    batches: bool,
) -> Response | None:
    """Give the messages of an event stream to `take` until it returns the final response.

    None if the stream ends before, or breaks where the cursor says how to resume it.

    Raises:
        UpstreamBroken: the stream is not what it should be.
    """
    decoder = sse.Decoder(max_event)
    try:
        while (data := await _more(response, decoder, cursor)) is not None:
            try:
                events = decoder.feed(data)
            except Malformed as problem:
                text = f"sent a stream that cannot be used: {problem.message}"
                raise passage.broken(text) from None
            cursor.events += len(events)
            for event in events:
                # Other types are not the protocol's.
                raw = event.data if event.event == "message" else b""
                for message in messages(raw, passage, batches=batches) if raw else ():
                    final = await take(message)
                    if final is not None:
                        return final
    finally:
        # A resumed stream that says nothing new keeps its place.
        if decoder.last_event_id is not None:
            cursor.event_id = decoder.last_event_id
        if decoder.retry is not None:
            cursor.retry = decoder.retry
    return None


async def _more(response: HttpResponse, decoder: sse.Decoder, cursor: Cursor) -> bytes | None:
    """The next bytes; None at an end, or at a break that the cursor can get over."""
    try:
        return await response.chunk() or None
    except UpstreamBroken:
        if decoder.last_event_id is None and cursor.event_id is None:
            raise
        return None


async def refusal(response: HttpResponse, passage: Passage, *, peer: str) -> Response:
    """The JSON-RPC error in a reply that is not a success.

    Raises:
        HttpRefused: there is none.
    """
    status = response.status
    if content_type(response) == JSON:
        try:
            message = decode_message(await response.read())
        except (Malformed, UpstreamBroken):
            message = None
        if (
            type(message) is Response
            and message.error is not None
            and (message.id is None or message.id == passage.request_id)
        ):
            return message
    asked = None
    if status in {401, 403}:
        asked = read_challenge(response.header(b"www-authenticate"))
    raise refused(status, peer=peer, asked=asked)


def refused(status: int, *, peer: str, asked: AskedFor | None = None) -> HttpRefused:
    """The error for a status without an answer."""
    if asked is not None:
        log.warning(
            "upstream_wants_authorization",
            upstream=peer,
            status=status,
            error=asked.error,
            scopes=[scope[:80] for scope in asked.scopes[:20]],
        )
    match status:
        case 403 if asked is not None and asked.error == "insufficient_scope":
            # Never widened on the way of a call: how wide a credential is, an operator says.
            hint = "It asks for scopes that the credential has not; the log of the plane has them."
        case 401 | 403:
            hint = "Check the credentials that are configured for it."
        case 404 | 405:
            hint = "Check that its URL is the MCP endpoint."
        case 429 | 503:
            hint = "It asks to be called less, or later."
        case _ if 300 <= status < 400:
            hint = "Redirects are not followed; configure the URL it leads to, if it is trusted."
        case _:
            hint = "Whether the action took effect is not known."
    shown = status if 100 <= status <= _MAX_SHOWN_STATUS else "unknown"
    return HttpRefused(
        f"Upstream {peer} answered with HTTP status {shown}.",
        status=status,
        hint=hint,
        asked=asked,
    )


__all__ = [
    "EVENTS",
    "JSON",
    "Cursor",
    "HttpRefused",
    "content_type",
    "messages",
    "read_events",
    "read_json",
    "refusal",
    "refused",
]
