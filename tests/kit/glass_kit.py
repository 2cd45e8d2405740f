"""A plane in memory whose policy asks about every send, with break-glass."""

from __future__ import annotations

from typing import Any

from approval_kit import AskingPlane
from escalation_kit import CONTACTS
from notify_kit import ListChannel

from midflight.domain.break_glass import BreakGlass
from midflight.domain.identity import Author
from midflight.services.break_glass import BreakGlassDesk, GlassRules
from midflight.services.escalation import Escalation
from midflight.services.escalation_telling import EscalationTelling
from midflight.services.ports.notify import Item
from midflight.testing import WORKLOAD, FakeClock

OLIVIA = Author(name="olivia", proof="peer-uid:1000")
BOB = Author(name="bob", proof="peer-uid:1002")
PEOPLE = {name if name != "ann" else "team-one": contact for name, contact in CONTACTS.items()}


class GlassPlane(AskingPlane):
    """See the module. `boot` is which start of the machine it is on."""

    clock: FakeClock

    def __init__(
        self, *, rules: GlassRules | None = None, boot: str = "boot-1", **parts: Any
    ) -> None:
        super().__init__(**parts)
        names = [name for contact in PEOPLE.values() for name in contact.channels]
        self.channels = {name: ListChannel(name) for name in names}
        self.escalation = Escalation(
            store=self.store,
            recorder=self.ledger,
            clock=self.clock,
            telemetry=self.telemetry,
            contacts=PEOPLE,
        )
        self.telling = EscalationTelling(
            self.escalation,
            contacts=PEOPLE,
            channels=self.channels,
            recorder=self.ledger,
            clock=self.clock,
            telemetry=self.telemetry,
            item=_item,
        )
        self.glass = BreakGlassDesk(
            store=self.store,
            recorder=self.ledger,
            clock=self.clock,
            escalation=self.escalation,
            interruption=self.interruption,
            workload=self.inventory.current,
            groups={"team-one": ["olivia"]},
            rules=rules or GlassRules(),
            boot=boot,
        )
        self.approvals.break_with(self.glass)

    async def start(self, *, register: bool = True, fetch: bool = True) -> None:
        await super().start(register=register, fetch=fetch)
        self.interruption.on_revoked(self.glass.revoked)
        await self.glass.start()

    async def break_open(self, for_s: int = 1_800, author: Author = BOB) -> BreakGlass:
        return await self.glass.open(WORKLOAD, reason="outage", for_s=for_s, author=author)


async def _item(notice: Any, channel: str) -> Item:
    return Item(notice=notice.id, subject=notice.subject, title=notice.title, facts=notice.facts)


__all__ = ["BOB", "OLIVIA", "PEOPLE", "GlassPlane"]
