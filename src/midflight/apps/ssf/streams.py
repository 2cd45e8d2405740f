"""The stream management API and the polls of a transmitter (SSF 1.0 §8, RFC 8936). Raw ASGI.

    GET, POST, PATCH, PUT, DELETE /ssf/stream      streams of the client that calls
    GET, POST /ssf/status                          enabled, paused, disabled
    POST /ssf/subjects/add, /ssf/subjects/remove   whom a stream leaves out
    POST /ssf/verify                               a verification event, please
    POST /ssf/poll/<stream_id>                     events of a stream that is polled

Who calls is proved by an access token of our own authorization server, in the header and nowhere
else; it carries `ssf.manage`, or `ssf.read` for what only reads (CAEP interoperability profile).
Above: `main.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

from midflight.apps.server.asgi import Receive, Scope, Send, header_values
from midflight.apps.server.body import check_json, read_body
from midflight.apps.server.peer import scope_peer
from midflight.apps.server.respond import send_empty, send_json
from midflight.domain.errors import Forbidden, Malformed, NotFound, Unauthenticated
from midflight.domain.identity import Author
from midflight.domain.scopes import SSF_MANAGE, SSF_READ
from midflight.domain.shared_stream import Stream
from midflight.domain.value import JSONObject, Value
from midflight.services.authorization_tokens import AuthorizedTokens
from midflight.services.identity import Identity
from midflight.services.openers import BY_OAUTH
from midflight.services.presented import Credentials, presented
from midflight.services.ssf_polling import PollAnswers, Poller
from midflight.services.ssf_streams import MIN_VERIFICATION_S, Streams
from midflight.wire import json
from midflight.wire.ssf import polls, streams
from midflight.wire.ssf.metadata import (
    ADD_SUBJECT,
    POLL,
    REMOVE_SUBJECT,
    STATUS,
    STREAM,
    VERIFY,
)


class InsufficientScope(Forbidden):
    """The token is good, and not for this (RFC 6750 §3.1)."""

    code = "insufficient_scope"

    def __init__(self, wanted: str) -> None:
        super().__init__(
            f"The access token lacks the scope {wanted}.",
            hint="Ask the token endpoint for it; the client must be registered with it.",
        )
        self.wanted = wanted


class Asked(Value):
    """A request of a client that has proved who it is."""

    client: str
    author: Author
    who: Poller
    body: bytes
    query: str

    def document(self) -> JSONObject:
        """The object in the body."""
        return streams.body(self.body)

    def stream_id(self) -> str | None:
        """`stream_id` of the query, once; or None."""
        try:
            found = parse_qs(self.query, strict_parsing=True) if self.query else {}
        except ValueError:
            raise Malformed("The query of the request cannot be read.") from None
        values = found.get("stream_id", [])
        if len(values) > 1:
            raise Malformed("stream_id is there more than once.")
        return values[0] if values else None


Answer = tuple[int, bytes]
Verb = Callable[[Asked], Awaitable[Answer]]


class StreamFront:
    """Serves what is below `/ssf` for receivers."""

    def __init__(
        self,
        *,
        streams: Streams,
        polls: PollAnswers,
        identity: Identity,
        tokens: AuthorizedTokens,
        issuer: str,
        public_url: str,
    ) -> None:
        """`issuer` is the `iss` of SETs; `public_url` where clients reach all this."""
        self._streams = streams
        self._polls = polls
        self._identity = identity
        self._tokens = tokens
        self._issuer = issuer
        self._public_url = public_url
        read = (SSF_READ, SSF_MANAGE)
        manage = (SSF_MANAGE,)
        self._verbs: dict[tuple[str, str], tuple[tuple[str, ...], Verb]] = {
            ("GET", STREAM): (read, self._read),
            ("POST", STREAM): (manage, self._create),
            ("PATCH", STREAM): (manage, self._update),
            ("PUT", STREAM): (manage, self._replace),
            ("DELETE", STREAM): (manage, self._delete),
            ("GET", STATUS): (read, self._status),
            ("POST", STATUS): (manage, self._set_status),
            ("POST", ADD_SUBJECT): (manage, self._add),
            ("POST", REMOVE_SUBJECT): (manage, self._remove),
            ("POST", VERIFY): (manage, self._verify),
        }
        self._paths = {path for _, path in self._verbs}

    def serves(self, path: str) -> bool:
        """Whether a path is one of these."""
        return path in self._paths or path.startswith(POLL)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; errors of the tree pass."""
        method, path = scope["method"], scope["path"]
        if path.startswith(POLL):
            found = self._verbs.get((method, path)) or (
                ((SSF_READ, SSF_MANAGE), self._poll_of(path.removeprefix(POLL)))
                if method == "POST"
                else None
            )
        else:
            found = self._verbs.get((method, path))
        if found is None:
            allowed = sorted(m for m, p in self._verbs if p == path) or ["POST"]
            await send_empty(send, 405, headers=[(b"allow", ", ".join(allowed).encode())])
            return
        scopes, verb = found
        client, who = await self._who(scope, scopes)
        body = b""
        if method in {"POST", "PATCH", "PUT"}:
            check_json(scope["headers"])
            body = await read_body(receive, scope["headers"], limit=streams.MAX_BODY)
            # It may have taken its time, and he may have been revoked meanwhile.
            await who.check()
        query = scope["query_string"].decode("latin-1")
        author = Author(name=client, proof=f"{BY_OAUTH}{who.caller.proof}")
        status, answer = await verb(
            Asked(client=client, author=author, who=who, body=body, query=query)
        )
        if answer:
            await send_json(send, answer, status=status)
        else:
            await send_empty(send, status)

    # Who calls

    async def _who(self, scope: Scope, scopes: tuple[str, ...]) -> tuple[str, Poller]:
        peer = scope_peer(scope)
        credentials = Credentials(
            authorization=_texts(scope, b"authorization"),
            dpop=_texts(scope, b"dpop"),
            method=scope["method"],
            url=self._public_url + scope["path"],
            peer=peer.address,
            certificates=peer.chain,
        )
        # RFC 6750 §2.3 is not offered: a token in a URL ends up in logs.
        if "access_token=" in scope["query_string"].decode("latin-1"):
            raise Unauthenticated("Access tokens belong into the header.", challenge="")
        _, token = presented(credentials)
        caller = await self._identity.identify(credentials)
        claims = self._identity.read(token)

        async def check() -> None:
            if not claims.client or not await self._tokens.active(claims):
                raise Unauthenticated("The access token is revoked, or was issued to no client.")

        await check()
        if not set(scopes) & set(caller.scope or ()):
            raise InsufficientScope(scopes[0])
        covered = await self._tokens.scopes_of(caller)
        return claims.client, Poller(caller=caller, scopes=covered, check=check)

    # The verbs

    async def _read(self, asked: Asked) -> Answer:
        wanted = asked.stream_id()
        if wanted is None:
            found = [self._shown(stream) for stream in await self._streams.of(asked.client)]
            return 200, json.encode(found)
        return 200, json.encode(self._shown(await self._streams.get(asked.client, wanted)))

    async def _create(self, asked: Asked) -> Answer:
        document = asked.document() if asked.body else {}
        made = await self._streams.create(asked.client, streams.wish(document), asked.author)
        return 201, json.encode(self._shown(made))

    async def _update(self, asked: Asked) -> Answer:
        return await self._change(asked, whole=False)

    async def _replace(self, asked: Asked) -> Answer:
        return await self._change(asked, whole=True)

    async def _change(self, asked: Asked, *, whole: bool) -> Answer:
        document = asked.document()
        wanted = streams.stream_id(document)
        before = await self._streams.get(asked.client, wanted)
        streams.expected(document, self._shown(before))
        after = await self._streams.change(
            asked.client, wanted, streams.wish(document), asked.author, whole=whole
        )
        return 200, json.encode(self._shown(after))

    async def _delete(self, asked: Asked) -> Answer:
        await self._streams.delete(asked.client, _required(asked), asked.author)
        return 204, b""

    async def _status(self, asked: Asked) -> Answer:
        stream = await self._streams.get(asked.client, _required(asked))
        return 200, json.encode(streams.shown_status(stream))

    async def _set_status(self, asked: Asked) -> Answer:
        wish = streams.status(asked.document())
        stream = await self._streams.set_status(
            asked.client, wish.stream_id, wish.status, asked.author, reason=wish.reason
        )
        return 200, json.encode(streams.shown_status(stream))

    async def _add(self, asked: Asked) -> Answer:
        wish = streams.subject(asked.document())
        await self._streams.add_subject(asked.client, wish.stream_id, wish.subject)
        return 200, b""

    async def _remove(self, asked: Asked) -> Answer:
        wish = streams.subject(asked.document())
        await self._streams.remove_subject(asked.client, wish.stream_id, wish.subject)
        return 204, b""

    async def _verify(self, asked: Asked) -> Answer:
        wish = streams.verification(asked.document())
        await self._streams.verify(asked.client, wish.stream_id, wish.state)
        return 204, b""

    def _poll_of(self, stream_id: str) -> Verb:
        async def poll(asked: Asked) -> Answer:
            stream = await self._streams.get(asked.client, stream_id)
            given = polls.decode_poll(asked.body)
            sets, more = await self._polls.poll(
                stream,
                asked.who,
                most=given.most,
                wait=given.wait,
                acks=given.acks,
                errors=given.errors,
            )
            return 200, polls.encode_polled(polls.Polled(sets=sets, more=more))

        return poll

    def _shown(self, stream: Stream) -> JSONObject:
        return streams.shown(
            stream,
            issuer=self._issuer,
            poll_url=f"{self._public_url}{POLL}{stream.id}",
            interval_s=MIN_VERIFICATION_S,
        )


def _required(asked: Asked) -> str:
    found = asked.stream_id()
    if found is None:
        # Which stream is meant is part of what is asked for (SSF 1.0 §8.1.1.5, §8.1.2.1).
        raise NotFound("No stream_id is given.", hint="Name the stream in the query.")
    return found


def _texts(scope: Scope, name: bytes) -> tuple[str, ...]:
    return tuple(value.decode("latin-1") for value in header_values(scope["headers"], name))


__all__ = ["InsufficientScope", "StreamFront"]
