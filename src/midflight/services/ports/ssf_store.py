"""What is kept of shared signals: streams, what waits in them, and SETs that were taken."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from midflight.domain.shared_stream import Incoming, Outgoing, Queued, Stream


class SharedSignalStore(Protocol):
    """Errors: `StoreUnavailable` when the store does not answer."""

    async def put_ssf_stream(self, stream: Stream) -> None:
        """Store or replace a stream by id; `dropped` is left as it is."""
        ...

    async def get_ssf_stream(self, stream_id: str) -> Stream | None:
        """A stream by id."""
        ...

    async def list_ssf_streams(self, *, client: str | None = None) -> Sequence[Stream]:
        """All streams, or those of a client, oldest first."""
        ...

    async def delete_ssf_stream(self, stream_id: str) -> bool:
        """Forget a stream and what waits in it. False if there was none."""
        ...

    async def queue_ssf_events(
        self, events: Sequence[Outgoing], *, bound: int
    ) -> Sequence[Outgoing]:
        """Queue all in one transaction, and return those for which there was no room.

        At most `bound` wait in a stream. What finds no room is added to the stream's `dropped`.
        An event of a `jti` that waits in the stream already, or of a stream that is gone, is
        passed over.
        """
        ...

    async def queued_ssf_events(
        self, stream_id: str, *, limit: int, through: int | None = None
    ) -> Sequence[Queued]:
        """What waits in a stream, in order, at most `limit`, with numbers up to `through`."""
        ...

    async def count_ssf_events(self, stream_id: str) -> int:
        """How many wait in a stream."""
        ...

    async def unqueue_ssf_events(self, stream_id: str, jtis: Collection[str]) -> int:
        """Forget events that were delivered; how many there were."""
        ...

    async def clear_ssf_events(self, stream_id: str) -> int:
        """Forget everything that waits in a stream; how many that were."""
        ...

    async def reset_ssf_dropped(self, stream_id: str) -> int:
        """Set a stream's `dropped` to 0, and return what it was."""
        ...

    async def take_ssf_set(self, incoming: Incoming) -> Incoming | None:
        """Note a SET: None if it is new, else what is stored under its receiver and `jti`."""
        ...

    async def finish_ssf_set(self, receiver: str, jti: str, outcome: str) -> None:
        """Note what was done about a SET. Its text is forgotten."""
        ...

    async def unfinished_ssf_sets(self) -> Sequence[Incoming]:
        """SETs that were taken and not acted on, oldest first."""
        ...

    async def last_ssf_sets(self, receiver: str, *, limit: int) -> Sequence[Incoming]:
        """The SETs of a receiver that were taken last, newest first."""
        ...

    async def prune_ssf_sets(self, receiver: str, *, before: int) -> int:
        """Forget finished SETs that were taken before; how many that were."""
        ...


__all__ = ["SharedSignalStore"]
