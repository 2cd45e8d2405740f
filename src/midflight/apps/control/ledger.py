"""Operations on the ledger: reading records, signing checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from midflight.apps.control.operation import Empty, Input, Operation
from midflight.apps.control.operators import Operator
from midflight.apps.control.plane import Plane
from midflight.domain.value import Value
from midflight.services.ledger_query import Recorded

MAX_RECORDS = 1_000


class WantedRecords(Input):
    """How many of the last records."""

    count: Annotated[int, msgspec.Meta(ge=1, le=MAX_RECORDS)] = 20


class NamedRecord(Input):
    """A record by id."""

    id: str


class Checkpoint(Value):
    """A signed checkpoint in the C2SP form. Publish it where no operator of Midflight can write."""

    note: str


class VerifierKey(Value):
    """The public key of checkpoints, C2SP form. Keep it where no operator can change it."""

    key: str


class LedgerVerbs:
    """See the module."""

    def __init__(self, plane: Plane) -> None:
        self._ledger = plane.ledger
        self._note_signer = plane.parts.note_signer

    async def list_records(self, given: WantedRecords, operator: Operator) -> Sequence[Recorded]:
        """The last records on disk, oldest first."""
        del operator
        return await self._ledger.tail(given.count)

    async def show_record(self, given: NamedRecord, operator: Operator) -> Recorded:
        """One record. Arguments stay sealed."""
        del operator
        return await self._ledger.read(given.id)

    async def sign_checkpoint(self, given: Empty, operator: Operator) -> Checkpoint:
        """Sign what is there now."""
        del given, operator
        return Checkpoint(note=await self._ledger.checkpoint_now())

    async def show_verifier_key(self, given: Empty, operator: Operator) -> VerifierKey:
        """What verifies checkpoints."""
        del given, operator
        return VerifierKey(key=self._note_signer.verifier_key())

    def operations(self) -> Sequence[Operation[Any]]:
        """The rows of the table."""
        return (
            Operation(
                method="GET",
                path="/v1/records",
                summary="The last records, oldest first.",
                input=WantedRecords,
                answer=list[Recorded],
                act=self.list_records,
            ),
            Operation(
                method="GET",
                path="/v1/records/{id}",
                summary="One record.",
                input=NamedRecord,
                answer=Recorded,
                act=self.show_record,
            ),
            Operation(
                method="GET",
                path="/v1/ledger/key",
                summary="The public key of checkpoints.",
                input=Empty,
                answer=VerifierKey,
                act=self.show_verifier_key,
            ),
            Operation(
                method="POST",
                path="/v1/ledger/checkpoint",
                summary="Sign a checkpoint over everything recorded so far.",
                input=Empty,
                answer=Checkpoint,
                act=self.sign_checkpoint,
            ),
        )


__all__ = ["Checkpoint", "LedgerVerbs", "NamedRecord", "VerifierKey", "WantedRecords"]
