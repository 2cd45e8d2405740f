"""Escalation over a store, with channels that keep what they are told and a clock of the test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from notify_kit import ListChannel

from midflight.adapters.store.memory import MemoryStore
from midflight.adapters.telemetry.quiet import QuietTelemetry
from midflight.domain.identity import Author
from midflight.domain.notice import Contact, Notice, NoticeKind
from midflight.domain.records import Record
from midflight.services.escalation import Escalation
from midflight.services.escalation_pacing import Pace
from midflight.services.escalation_telling import EscalationTelling
from midflight.services.ports.clock import Clock
from midflight.services.ports.notify import Channel, Item
from midflight.services.ports.store import Store
from midflight.testing import FakeClock

CONTACTS = {
    "ann": Contact(name="ann", channels=("ann-chat",), answer_within=300),
    "oncall": Contact(name="oncall", channels=("pager",), next="boss", answer_within=600),
    "boss": Contact(name="boss", channels=("boss-mail",), answer_within=900),
}
OLIVIA = Author(name="olivia", proof="peer-uid:1000")


class Written:
    """A recorder that keeps records; no ledger."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.available = True

    def append(self, record: Record) -> Any:
        self.records.append(record)
        return Durable()


class Durable:
    """A ticket of a record that is on disk at once."""

    id = "record"

    async def durable(self) -> None:
        return


class Told:
    """Escalation and its telling, wired."""

    def __init__(
        self,
        *,
        store: Store | None = None,
        clock: Clock | None = None,
        contacts: Mapping[str, Contact] | None = None,
        channels: Sequence[Channel] | None = None,
        pace: Pace | None = None,
        default: str = "",
    ) -> None:
        self.store = store or MemoryStore()
        self.clock = clock or FakeClock()
        self.recorder = Written()
        known = CONTACTS if contacts is None else contacts
        names = [name for contact in known.values() for name in contact.channels]
        made = channels if channels is not None else [ListChannel(name) for name in names]
        self.channels: dict[str, Any] = {each.name: each for each in made}
        self.escalation = Escalation(
            store=self.store,
            recorder=self.recorder,
            clock=self.clock,
            telemetry=QuietTelemetry(),
            contacts=known,
            default=default,
        )
        self.telling = EscalationTelling(
            self.escalation,
            contacts=known,
            channels=self.channels,
            recorder=self.recorder,
            clock=self.clock,
            telemetry=QuietTelemetry(),
            item=_item,
            pace=pace,
        )

    async def file(self, number: int = 1, /, *first: str, **changes: Any) -> Notice:
        """File a notice for `first`, by default for ann and then oncall."""
        await self.escalation.file(notice(number, **changes), first or ("ann", "oncall"))
        return await self.about(number)

    async def about(self, number: int = 1) -> Notice:
        found = await self.store.notice_about(f"apr_{number}")
        assert found is not None
        return found

    async def later(self, seconds: float) -> None:
        """Let time pass, and tell what is due then."""
        assert isinstance(self.clock, FakeClock)
        self.clock.advance(seconds)
        await self.telling.tick()

    def heard(self) -> dict[str, int]:
        """How many messages each channel got, silent ones left out."""
        counts = {name: len(channel.opened) for name, channel in self.channels.items()}
        return {name: count for name, count in counts.items() if count}


async def _item(notice: Notice, channel: str) -> Item:
    return Item(notice=notice.id, subject=notice.subject, title=notice.title, facts=notice.facts)


def notice(number: int = 1, **changes: Any) -> Notice:
    """A notice of an approval that nobody has filed."""
    fields: dict[str, Any] = {
        "id": "",
        "kind": NoticeKind.APPROVAL,
        "subject": f"apr_{number}",
        "title": "An action waits for approval",
        "owner": "ann",
        "group": f"group-{number}",
    }
    return Notice(**(fields | changes))


__all__ = ["CONTACTS", "OLIVIA", "Told", "Written", "notice"]
