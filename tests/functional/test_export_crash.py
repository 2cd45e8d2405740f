"""An export is killed with SIGKILL at each step: the next one goes on, and no event is lost.

The child exports a ledger in SQLite into a file. It dies before and after a batch is written, in
the middle of a line, and before and after its position is kept. Then another one starts on the
same state: the file holds whole lines, every record is among them, in order, and the position that
was kept was never of an event that the file lacked.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from mortal_kit import Mortal, killed

from midflight.adapters.clock import SystemClock
from midflight.adapters.export import file as file_sink
from midflight.adapters.export.file import FileSink
from midflight.adapters.store.ledger_sqlite import SqliteLedgerStore
from midflight.adapters.store.sqlite import SqliteStore
from midflight.adapters.telemetry.quiet import QuietTelemetry
from midflight.domain.records import Observed
from midflight.services import export as export_service
from midflight.services.export import Exporter
from midflight.services.ledger import Ledger
from midflight.services.ports.export import Exportable
from midflight.wire.export.lines import Form

pytestmark = pytest.mark.anyio

RECORDS = 50
MOMENTS = [
    *(f"{when} {step}" for step in ("send", "keep") for when in ("before", "after")),
    "amid a line",
]


class Dying(FileSink):
    """A file whose process dies around the second batch."""

    def __init__(self, path: Path, die: Mortal) -> None:
        super().__init__(path, Form.OCSF)
        self._die = die
        self._batches = 0

    async def send(self, batch: Sequence[Exportable], *, now: float) -> None:
        self._batches += 1
        if self._batches < 2:
            await super().send(batch, now=now)
            return
        self._die("before", "send")
        if self._die.moment == "amid a line":
            write = os.write

            def half(file: int, body: Any) -> int:
                write(file, bytes(body)[: len(body) // 2 + 7])
                self._die("amid a", "line")
                raise AssertionError

            file_sink.os.write = half  # type: ignore[assignment]
        await super().send(batch, now=now)
        self._die("after", "send")


class DyingStore(SqliteStore):
    """A store whose process dies around the third position that is kept."""

    moment = Mortal("")
    kept = 0

    async def put_snapshot(self, name: str, body: bytes) -> None:
        self.kept += name.startswith("export:")
        if self.kept == 3:
            self.moment("before", "keep")
        await super().put_snapshot(name, body)
        if self.kept == 3:
            self.moment("after", "keep")


async def export(folder: Path, moment: str) -> bytes | None:
    """Export all there is; with a moment, die on the way. The position that is kept."""
    store = DyingStore(folder / "midflight.sqlite3")
    store.moment = Mortal(moment)
    await store.open()
    ledger = Ledger(SqliteLedgerStore(folder / "ledger.sqlite3"), signer=None, clock=SystemClock())
    await ledger.start("test", "fixed")
    if moment:  # in the child, whose batches are small
        export_service.BATCH = 7  # type: ignore[misc]
        for number in range(RECORDS):
            ledger.append(Observed(at=1.0, what="seen", subject=f"subject {number}"))
        await ledger.flush()
    sink = Dying(folder / "events.jsonl", Mortal(moment))
    exporter = Exporter(
        "archive",
        sink,
        ledger=ledger,
        store=store,
        clock=SystemClock(),
        telemetry=QuietTelemetry(),
        whole=True,
    )
    kept = await store.get_snapshot("export:archive")
    await exporter.step()
    assert (await exporter.status()).failures == 0, (await exporter.status()).why
    await exporter.close()
    await ledger.close()
    await store.close()
    return kept


@pytest.mark.parametrize("moment", MOMENTS)
async def test_an_export_that_is_killed_loses_no_event(moment: str, tmp_path: Path) -> None:
    await killed(__file__, str(tmp_path), moment)
    path = tmp_path / "events.jsonl"
    left = path.read_bytes().split(b"\n")
    whole = [json.loads(each) for each in left[:-1]]
    assert bool(left[-1]) is (moment == "amid a line")
    kept = await export(tmp_path, "")
    assert kept is not None
    # The position was never ahead of what was written.
    assert int(kept) <= max((each["metadata"]["sequence"] for each in whole), default=0)
    events = [json.loads(each) for each in path.read_text("utf-8").splitlines()]
    seen = [
        each["finding_info"]["uid"]
        for each in events
        if each["metadata"]["event_code"] == "observed" and each["finding_info"]["uid"] != ""
    ]
    subjects = [name for name in seen if name.startswith("subject ")]
    assert list(dict.fromkeys(subjects)) == [f"subject {number}" for number in range(RECORDS)]
    assert len(subjects) <= RECORDS + 7  # a batch comes twice, and no more than that
    again = {each["metadata"]["uid"] for each in events}
    assert len(again) == len({json.dumps(each, sort_keys=True) for each in events})


if __name__ == "__main__":
    asyncio.run(export(Path(sys.argv[1]), sys.argv[2]))
    sys.exit("it was to die")
