"""Shared signals in memory: a part of `memory.py`."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from midflight.adapters.store.memory_part import MemoryPart
from midflight.domain.shared_stream import Incoming, Outgoing, Queued, Stream


class MemorySharedSignals(MemoryPart):
    """See the module, and `services/ports/ssf_store.py` for what the methods promise."""

    def __init__(self) -> None:
        super().__init__()
        self._ssf_streams: dict[str, Stream] = {}
        self._ssf_queues: dict[str, list[Queued]] = {}
        self._ssf_number = 0
        self._ssf_taken: dict[tuple[str, str], Incoming] = {}

    async def put_ssf_stream(self, stream: Stream) -> None:
        """Store or replace a stream by id; `dropped` is left as it is."""
        self._check_open()
        before = self._ssf_streams.get(stream.id)
        dropped = 0 if before is None else before.dropped
        self._ssf_streams[stream.id] = msgspec.structs.replace(stream, dropped=dropped)

    async def get_ssf_stream(self, stream_id: str) -> Stream | None:
        """A stream by id."""
        self._check_open()
        return self._ssf_streams.get(stream_id)

    async def list_ssf_streams(self, *, client: str | None = None) -> Sequence[Stream]:
        """All streams, or those of a client, oldest first."""
        self._check_open()
        found = [s for s in self._ssf_streams.values() if client is None or s.client == client]
        return sorted(found, key=lambda stream: (stream.created_at, stream.id))

    async def delete_ssf_stream(self, stream_id: str) -> bool:
        """Forget a stream and what waits in it. False if there was none."""
        self._check_open()
        self._ssf_queues.pop(stream_id, None)
        return self._ssf_streams.pop(stream_id, None) is not None

    async def queue_ssf_events(
        self, events: Sequence[Outgoing], *, bound: int
    ) -> Sequence[Outgoing]:
        """Queue all, and return those for which there was no room."""
        self._check_open()
        without: list[Outgoing] = []
        for event in events:
            stream = self._ssf_streams.get(event.stream)
            queue = self._ssf_queues.setdefault(event.stream, [])
            if stream is None or any(waiting.event.jti == event.jti for waiting in queue):
                continue
            if len(queue) >= bound:
                without.append(event)
                self._ssf_streams[stream.id] = msgspec.structs.replace(
                    stream, dropped=stream.dropped + 1
                )
                continue
            self._ssf_number += 1
            queue.append(Queued(number=self._ssf_number, event=event))
        return without

    async def queued_ssf_events(
        self, stream_id: str, *, limit: int, through: int | None = None
    ) -> Sequence[Queued]:
        """What waits in a stream, in order, at most `limit`, with numbers up to `through`."""
        self._check_open()
        queue = self._ssf_queues.get(stream_id, [])
        return [each for each in queue if through is None or each.number <= through][:limit]

    async def count_ssf_events(self, stream_id: str) -> int:
        """How many wait in a stream."""
        self._check_open()
        return len(self._ssf_queues.get(stream_id, []))

    async def unqueue_ssf_events(self, stream_id: str, jtis: Collection[str]) -> int:
        """Forget events that were delivered; how many there were."""
        self._check_open()
        queue, gone = self._ssf_queues.get(stream_id, []), set(jtis)
        left = [each for each in queue if each.event.jti not in gone]
        self._ssf_queues[stream_id] = left
        return len(queue) - len(left)

    async def clear_ssf_events(self, stream_id: str) -> int:
        """Forget everything that waits in a stream; how many that were."""
        self._check_open()
        return len(self._ssf_queues.pop(stream_id, []))

    async def reset_ssf_dropped(self, stream_id: str) -> int:
        """Set a stream's `dropped` to 0, and return what it was."""
        self._check_open()
        stream = self._ssf_streams.get(stream_id)
        if stream is None:
            return 0
        self._ssf_streams[stream_id] = msgspec.structs.replace(stream, dropped=0)
        return stream.dropped

    async def take_ssf_set(self, incoming: Incoming) -> Incoming | None:
        """Note a SET: None if it is new, else what is stored under its receiver and `jti`."""
        self._check_open()
        key = (incoming.receiver, incoming.jti)
        known = self._ssf_taken.get(key)
        self._ssf_taken.setdefault(key, incoming)
        return known

    async def finish_ssf_set(self, receiver: str, jti: str, outcome: str) -> None:
        """Note what was done about a SET. Its text is forgotten."""
        self._check_open()
        found = self._ssf_taken.get((receiver, jti))
        if found is not None:
            self._ssf_taken[receiver, jti] = msgspec.structs.replace(
                found, text="", outcome=outcome
            )

    async def unfinished_ssf_sets(self) -> Sequence[Incoming]:
        """SETs that were taken and not acted on, oldest first."""
        self._check_open()
        return sorted(
            (each for each in self._ssf_taken.values() if not each.outcome),
            key=lambda each: (each.at, each.receiver, each.jti),
        )

    async def last_ssf_sets(self, receiver: str, *, limit: int) -> Sequence[Incoming]:
        """The SETs of a receiver that were taken last, newest first."""
        self._check_open()
        found = [each for each in self._ssf_taken.values() if each.receiver == receiver]
        return sorted(found, key=lambda each: (-each.at, each.jti))[:limit]

    async def prune_ssf_sets(self, receiver: str, *, before: int) -> int:
        """Forget finished SETs that were taken before; how many that were."""
        self._check_open()
        gone = [
            key
            for key, each in self._ssf_taken.items()
            if each.receiver == receiver and each.outcome and each.at < before
        ]
        for key in gone:
            del self._ssf_taken[key]
        return len(gone)


__all__ = ["MemorySharedSignals"]
