"""`midflight` that dies by SIGKILL at one moment of a revocation whose reason is `die`.

Arguments: the moment, then its own. Everything else is the real plane in a process of its own.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, Final

from midflight.adapters.store.sqlite import SqliteStore
from midflight.apps.cli.main import main
from midflight.domain.records import Impact, Revoked
from midflight.services.ledger import Ledger
from midflight.services.revocation_log import RevocationLog

MOMENTS: Final = (
    "before append",
    "after append",
    "after telling",
    "before the record",
    "before the impact",
    "before it is settled",
    "after it is settled",
)
DURABLE: Final = MOMENTS[1:]
"""Those at which the entry is in the log."""


def die() -> None:
    """Now."""
    os.kill(os.getpid(), signal.SIGKILL)


def run(moment: str) -> None:
    """Arm it, and be `midflight`."""
    deadly: set[str] = set()
    append_entry, publish_all = SqliteStore.append_revocation, RevocationLog.append
    append_record, settled = Ledger.append, RevocationLog.settled

    async def append_revocation(self: SqliteStore, revocation: Any) -> int:
        if revocation.reason != "die":
            return await append_entry(self, revocation)
        deadly.add(revocation.id)
        if moment == "before append":
            die()
        position = await append_entry(self, revocation)
        if moment == "after append":
            die()
        return position

    async def append(self: RevocationLog, revocation: Any) -> None:
        await publish_all(self, revocation)
        if revocation.id in deadly and moment == "after telling":
            die()

    def append_of_ledger(self: Ledger, record: Any) -> Any:
        if isinstance(record, Revoked | Impact) and record.revocation in deadly:
            kind = "record" if isinstance(record, Revoked) else "impact"
            if moment == f"before the {kind}":
                die()
        return append_record(self, record)

    async def settle(self: RevocationLog, revocation: Any) -> None:
        if revocation.id in deadly and moment == "before it is settled":
            die()
        await settled(self, revocation)
        if revocation.id in deadly and moment == "after it is settled":
            die()

    SqliteStore.append_revocation = append_revocation  # type: ignore[method-assign]
    RevocationLog.append = append  # type: ignore[method-assign]
    RevocationLog.settled = settle  # type: ignore[method-assign]
    Ledger.append = append_of_ledger  # type: ignore[method-assign]
    main()


if __name__ == "__main__":
    run(sys.argv.pop(1))

__all__ = ["DURABLE", "MOMENTS"]
