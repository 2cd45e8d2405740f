"""Rows of approvals and counterparties to domain values and back; strict, as `rows.py`."""

from __future__ import annotations

from typing import Any

import msgspec

from midflight.adapters.store.rows import Row, decode_text, read_value, write_text
from midflight.domain.approval import ApprovalRequest
from midflight.domain.counterparty import Counterparty

_AS_TEXT = ("arguments", "reasons", "approvers", "shown", "answers")
_FIELDS = ApprovalRequest.__struct_fields__


def approval_row(request: ApprovalRequest) -> dict[str, Any]:
    """The row of a request. `seq` is the store's to give."""
    row = {name: getattr(request, name) for name in _FIELDS}
    row["state"] = request.state.value
    return row | {name: write_text(row[name]) for name in _AS_TEXT}


def read_approval(row: Row) -> ApprovalRequest:
    """The request of a row."""
    fields = {name: row[name] for name in _FIELDS}
    fields |= {name: decode_text(row[name]) for name in _AS_TEXT}
    return read_value(fields, ApprovalRequest)


def counterparty_row(counterparty: Counterparty) -> dict[str, Any]:
    """The row of a counterparty."""
    return {**msgspec.structs.asdict(counterparty), "role": counterparty.role.value}


def read_counterparty(row: Row) -> Counterparty:
    """The counterparty of a row."""
    return read_value({str(key): value for key, value in row.items()}, Counterparty)


__all__ = ["approval_row", "counterparty_row", "read_approval", "read_counterparty"]
