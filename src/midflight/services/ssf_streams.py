"""Streams: the verbs of the stream management API (SSF 1.0 §8.1), and of operators.

A stream is found by its id and its client together: another client's is not there. Every change is
durable and recorded before it is answered. Above: `apps/ssf`, the control API. Below: the outbox.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from midflight.domain.errors import Conflict, Forbidden, Malformed, NotFound
from midflight.domain.identity import Author
from midflight.domain.shared_stream import (
    MAX_REMOVED,
    Method,
    Stream,
    StreamStatus,
    StreamWish,
)
from midflight.domain.subject_identifiers import Opaque, Subject
from midflight.services.changes import record_change
from midflight.services.ports.clock import Clock
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.ssf_delivery import Pushes
from midflight.services.ports.ssf_store import SharedSignalStore
from midflight.services.sealed_secrets import SealedSecrets
from midflight.services.ssf_outbox import Outbox

MIN_VERIFICATION_S = 10
"""Seconds between two verifications of a stream (`min_verification_interval`)."""


MAX_CHANGES = 120
"""Changes that one client makes in a minute."""


class TooMany(Conflict):
    """Asked more often than is answered."""

    code = "too_many_requests"
    http_status = 429


class Streams:
    """See the module."""

    def __init__(
        self,
        *,
        store: SharedSignalStore,
        outbox: Outbox,
        sealed: SealedSecrets,
        pushes: Pushes,
        recorder: Recorder,
        clock: Clock,
        per_client: int = 1,
    ) -> None:
        """`per_client` is how many streams one client may have."""
        self._store = store
        self._outbox = outbox
        self._sealed = sealed
        self._pushes = pushes
        self._recorder = recorder
        self._clock = clock
        self._per_client = per_client
        self._changing = asyncio.Lock()
        self._verified: dict[str, float] = {}
        self._changes: dict[str, list[float]] = {}
        self._listeners: list[Callable[[str], None]] = []

    def on_changed(self, listener: Callable[[str], None]) -> None:
        """Tell this of each stream that was changed."""
        self._listeners.append(listener)

    # For receivers

    async def create(self, client: str, wish: StreamWish, author: Author) -> Stream:
        """Make a stream; without a delivery it is polled (SSF 1.0 §8.1.1.1).

        Raises:
            Conflict: the client has as many as it may have.
            Forbidden: an operator has stopped one of them.
            Malformed: nothing can be pushed to its URL.
            TooMany: it changes its streams all the time.
        """
        self._pace(client)
        async with self._changing:
            before = await self._store.list_ssf_streams(client=client)
            for each in before:
                _check_not_held(each)
            if len(before) >= self._per_client:
                raise Conflict(
                    "This receiver has its stream already.",
                    hint="Read it, and update, replace or delete it.",
                )
            stream = Stream(
                id=f"str_{self._clock.token()}",
                client=client,
                aud=client,
                method=Method.POLL,
                created_at=int(self._clock.now()),
            )
            stream = await self._wished(stream, wish, author, whole=True)
            await self._store.put_ssf_stream(stream)
            await self._changed("create", stream, author)
        return stream

    async def of(self, client: str) -> Sequence[Stream]:
        """The streams of a client."""
        return await self._store.list_ssf_streams(client=client)

    async def get(self, client: str, stream_id: str) -> Stream:
        """A stream of a client. `NotFound` if it has none of that id, whoever else has."""
        found = await self._store.get_ssf_stream(stream_id)
        if found is None or found.client != client:
            raise NotFound("This receiver has no stream of that id.")
        return found

    async def change(
        self, client: str, stream_id: str, wish: StreamWish, author: Author, *, whole: bool
    ) -> Stream:
        """Update a stream, or with `whole` replace it: what is not said is then as at first.

        Raises as `get` and `create`; one that an operator has stopped may be changed, and stays so.
        """
        self._pace(client)
        async with self._changing:
            before = await self.get(client, stream_id)
            after = await self._wished(before, wish, author, whole=whole)
            await self._store.put_ssf_stream(after)
            if before.authorization and before.authorization != after.authorization:
                await self._sealed.forget(before.authorization)
            await self._changed("replace" if whole else "update", after, author)
        self._tell(stream_id)
        return after

    async def delete(self, client: str, stream_id: str, author: Author) -> None:
        """Forget a stream, and what waits in it. Raises as `get` and `create`."""
        self._pace(client)
        async with self._changing:
            stream = await self.get(client, stream_id)
            _check_not_held(stream)
            await self._store.delete_ssf_stream(stream_id)
            if stream.authorization:
                await self._sealed.forget(stream.authorization)
            self._verified.pop(stream_id, None)
            await self._changed("delete", stream, author)
        self._tell(stream_id)

    async def set_status(
        self, client: str, stream_id: str, status: StreamStatus, author: Author, *, reason: str
    ) -> Stream:
        """What a receiver says of its own stream; it is in force when this returns.

        Raises as `get` and `create`.
        """
        self._pace(client)
        async with self._changing:
            stream = await self.get(client, stream_id)
            _check_not_held(stream)
            if status is StreamStatus.DISABLED:
                await self._store.clear_ssf_events(stream_id)
            stream = msgspec.structs.replace(stream, status=status, reason=reason, through=0)
            await self._store.put_ssf_stream(stream)
            if status is StreamStatus.ENABLED:
                await self._say_what_was_dropped(stream)
            await self._changed(status.value, stream, author)
        self._tell(stream_id)
        return stream

    async def add_subject(self, client: str, stream_id: str, subject: Subject) -> None:
        """Leave a subject out no longer. Who was never left out is told the same."""
        await self._leave_out(client, stream_id, subject, out=False)

    async def remove_subject(self, client: str, stream_id: str, subject: Subject) -> None:
        """Leave a subject out from now on.

        Raises:
            Malformed: it is the stream itself, or so many are left out already.
        """
        if subject == Opaque(id=stream_id):
            raise Malformed("The stream itself cannot be left out of it.")
        await self._leave_out(client, stream_id, subject, out=True)

    async def verify(self, client: str, stream_id: str, state: str | None) -> None:
        """Send a verification event that repeats `state`.

        Raises:
            TooMany: another one was asked for a moment ago.
            Malformed: the stream is disabled, and sends nothing.
        """
        stream = await self.get(client, stream_id)
        if stream.status is StreamStatus.DISABLED:
            raise Malformed("The stream is disabled.", hint="Enable it, then verify it.")
        now, last = self._clock.monotonic(), self._verified.get(stream_id)
        if last is not None and now - last < MIN_VERIFICATION_S:
            raise TooMany(
                "The stream was verified a moment ago.",
                hint=f"Wait {MIN_VERIFICATION_S} seconds (min_verification_interval).",
            )
        self._verified[stream_id] = now
        await self._outbox.verify(stream, state)

    # For operators

    async def list(self) -> Sequence[Stream]:
        """All streams."""
        return await self._store.list_ssf_streams()

    async def decide(
        self, stream_id: str, status: StreamStatus, author: Author, *, reason: str
    ) -> Stream:
        """Stop a stream, or let it go on; its receiver is told by a stream-updated event first.

        Raises:
            NotFound: there is no such stream.
        """
        async with self._changing:
            stream = await self._store.get_ssf_stream(stream_id)
            if stream is None:
                raise NotFound("There is no stream of that id.", hint="midflight ssf streams.")
            if stream.status is status and stream.held is (status is not StreamStatus.ENABLED):
                return stream
            through = 0
            if status is StreamStatus.DISABLED:
                await self._store.clear_ssf_events(stream_id)
            if status is not StreamStatus.ENABLED:
                through = await self._outbox.updated(stream, status, reason)
            held = status is not StreamStatus.ENABLED
            stream = msgspec.structs.replace(
                stream, status=status, reason=reason, through=through, held=held
            )
            await self._store.put_ssf_stream(stream)
            if status is StreamStatus.ENABLED and not await self._say_what_was_dropped(stream):
                await self._outbox.updated(stream, status, reason)
            await self._changed(f"{status.value} by operator", stream, author)
        self._tell(stream_id)
        return stream

    # Inside

    def _pace(self, client: str) -> None:
        """Each change is a durable record, so nobody makes them without end."""
        now = self._clock.monotonic()
        lately = [at for at in self._changes.get(client, ()) if now - at < 60]
        if len(lately) >= MAX_CHANGES:
            raise TooMany(
                f"Streams of this receiver were changed {MAX_CHANGES} times in a minute.",
                hint="Wait a minute.",
            )
        if len(self._changes) > 1_000:  # a bound; who is forgotten has not changed anything lately
            self._changes = {k: v for k, v in self._changes.items() if now - v[-1] < 60}
        self._changes[client] = [*lately, now]

    def _tell(self, stream_id: str) -> None:
        for listener in self._listeners:
            listener(stream_id)
        self._outbox.wake(stream_id)

    async def _say_what_was_dropped(self, stream: Stream) -> bool:
        dropped = await self._store.reset_ssf_dropped(stream.id)
        if dropped:
            reason = f"{dropped} events had no room and are lost."
            await self._outbox.updated(stream, StreamStatus.ENABLED, reason)
        return bool(dropped)

    async def _leave_out(self, client: str, stream_id: str, subject: Subject, *, out: bool) -> None:
        self._pace(client)
        async with self._changing:
            stream = await self.get(client, stream_id)
            removed = tuple(each for each in stream.removed if each != subject)
            if out:
                if len(removed) >= MAX_REMOVED:
                    raise Malformed(f"A stream leaves out {MAX_REMOVED} subjects at most.")
                removed = (*removed, subject)
            if removed != stream.removed:
                await self._store.put_ssf_stream(msgspec.structs.replace(stream, removed=removed))

    async def _wished(
        self, stream: Stream, wish: StreamWish, author: Author, *, whole: bool
    ) -> Stream:
        changes: dict[str, Any] = {}
        if wish.requested is not msgspec.UNSET:
            changes["requested"] = wish.requested
        elif whole:
            changes["requested"] = ()
        if wish.description is not msgspec.UNSET:
            changes["description"] = wish.description
        elif whole:
            changes["description"] = ""
        method = wish.method
        if method is msgspec.UNSET and whole:
            method = Method.POLL
        if method is not msgspec.UNSET:
            changes |= {"method": method, "endpoint_url": "", "authorization": ""}
        if method is Method.PUSH:
            problem = self._pushes.problem(wish.endpoint_url)
            if problem:
                raise Malformed(f"Nothing is pushed to that endpoint_url: it {problem}.")
            changes["endpoint_url"] = wish.endpoint_url
            if wish.authorization:
                changes["authorization"] = await self._sealed.seal(
                    wish.authorization, author=author
                )
        return msgspec.structs.replace(stream, **changes)

    async def _changed(self, verb: str, stream: Stream, author: Author) -> None:
        await record_change(
            self._recorder,
            at=self._clock.now(),
            what=f"ssf.stream.{verb} {stream.id}",
            author=author,
            details={
                "client": stream.client,
                "method": stream.method.value,
                "endpoint_url": stream.endpoint_url,
                "events": list(stream.delivered),
                "reason": stream.reason,
            },
        )


def _check_not_held(stream: Stream) -> None:
    if stream.held:
        raise Forbidden(
            "An operator has stopped this stream.", hint="Ask an operator to let it go on."
        )


__all__ = ["MAX_CHANGES", "MIN_VERIFICATION_S", "Streams", "TooMany"]
