"""The plane is killed with SIGKILL at each step of a revocation, and started again.

What was acknowledged holds whatever happens (I8, I10): nothing of it passes. What was in the log
holds though nobody was told. What was not in the log was not acknowledged either. And of every
entry that is in force there is a record, and an impact, and every action that was cut has ended
once.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from process_kit import Connection, ProcessPlane, process_plane

from midflight.adapters.store.ledger_sqlite_reader import SqliteLedgerReader
from midflight.apps.compose_parts import parts
from midflight.apps.settings import load
from midflight.domain.chain import record_id
from midflight.domain.errors import Unavailable
from midflight.domain.records import Impact, Intent, Outcome, Revoked
from midflight.services.ledger_query import recorded
from midflight.services.ledger_verify import verify
from servers import mortal_plane
from servers.counting_server import counting
from servers.mortal_plane import DURABLE, MOMENTS

pytestmark = pytest.mark.anyio

QUICK = ("before append", "after append")
NORMAL = ("-m", "midflight.apps.cli.main")


def revoke(plane: ProcessPlane, kind: str, name: str, reason: str) -> Any:
    return plane.control.post("/v1/revocations", scope={"kind": kind, "id": name}, reason=reason)


def ledger_of(plane: ProcessPlane) -> tuple[list[tuple[str, Any]], Any]:
    """(id, record) of everything, and what the verifier says."""
    reader = SqliteLedgerReader(plane.state / "ledger.sqlite3")
    reader.open()
    try:
        entries = list(reader.entries())
        found = [
            (record_id(entry.writer, entry.seq), recorded(position, entry).record)
            for position, entry in entries
        ]
        key = parts(load(plane.config)).note_signer.verifier_key()
        return found, verify(entries, reader.checkpoints(), verifier_key=key, published=None)
    finally:
        reader.close()


@pytest.mark.parametrize(
    "moment",
    [pytest.param(moment, marks=() if moment in QUICK else pytest.mark.slow) for moment in MOMENTS],
)
async def test_killed_at_any_step_of_a_revocation(tmp_path: Path, moment: str) -> None:
    async with counting() as counted:
        upstream = f'[[upstream]]\nname = "up"\nurl = "{counted.url}"\nreach = "closed"\n'
        deadly = (mortal_plane.__file__, moment)
        with process_plane(tmp_path, upstream, program=deadly) as plane:
            await asyncio.to_thread(plane.start)
            workload = await asyncio.to_thread(plane.register, "one")
            traits = {"note": ("read", "closed"), "hold": ("write", "closed")}
            await asyncio.to_thread(plane.pin, "up", traits)
            first, first_token = await asyncio.to_thread(plane.open_run, workload)
            second = await asyncio.to_thread(plane.register, "two")
            _, token = await asyncio.to_thread(plane.open_run, second)
            # One is revoked, and its operator told so.
            receipt = await asyncio.to_thread(revoke, plane, "run", first, "enough")
            assert receipt["durable"]

            with closing(Connection(plane.url)) as holding:
                hanging = asyncio.ensure_future(holding.call(token, "hold", nonce="before"))
                await counted.until(1)
                with pytest.raises(Unavailable):
                    await asyncio.to_thread(revoke, plane, "workload", second, "die")
                assert await asyncio.to_thread(plane.reaped) == -signal.SIGKILL
                # It may have been told that it was cut; never that all was well.
                said = (await asyncio.gather(hanging, return_exceptions=True))[0]
                assert isinstance(said, ConnectionError) or said.code == "interrupted"

            plane._program = NORMAL
            for life in range(1 if moment in QUICK else 2):
                await asyncio.to_thread(plane.start)
                with closing(Connection(plane.url)) as connection:
                    for run_token, run, nonce in (
                        (first_token, first, f"first {life}"),
                        (token, second, f"second {life}"),
                    ):
                        said = await connection.call(run_token, "note", nonce=nonce)
                        holds = run == first or moment in DURABLE
                        assert (said.code != "done") is holds, (run, said)
                        assert (nonce in counted.nonces) is not holds
                assert await asyncio.to_thread(plane.stop) == 0
            found, report = await asyncio.to_thread(ledger_of, plane)

    assert report.ok, report.problems
    ours = {r.revocation for _, r in found if isinstance(r, Revoked) and r.scope.id == second}
    assert len(ours) == (moment in DURABLE)
    for kind in (Revoked, Impact):
        counts = Counter(r.revocation for _, r in found if isinstance(r, kind))
        # What was settled is recorded once; what a kill left in between, once more at most.
        assert counts[receipt["revocation"]["id"]] == 1, kind
        for revocation in ours:
            assert 1 <= counts[revocation] <= 2, (kind, moment)
    intents = {id_ for id_, r in found if isinstance(r, Intent)}
    ends = Counter(r.intent for _, r in found if isinstance(r, Outcome) and r.intent)
    assert set(ends) == intents
    assert set(ends.values()) == {1}
