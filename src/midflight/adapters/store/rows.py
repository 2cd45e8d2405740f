"""Rows of the schema to domain values and back, for every database.

Reading is strict: a row that is not a value of the domain (a tier nobody knows, a body that is no
JSON) is `StoreUnavailable`, never a value with something left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from midflight.domain.errors import StoreUnavailable
from midflight.domain.identity import Workload
from midflight.domain.labels import Labels
from midflight.domain.revocation import Revocation
from midflight.domain.run import Run, RunState
from midflight.domain.tool import Pin
from midflight.services.ports.store import StoredRevocation, StoredRun

# Keys are column names, for some of which SQLAlchemy has a string type of its own.
Row = Mapping[Any, Any]
T = TypeVar("T")

_RUN_FIELDS = Run.__struct_fields__


def workload_row(workload: Workload) -> dict[str, Any]:
    """The row of a workload."""
    return {
        **msgspec.structs.asdict(workload),
        "tier": workload.tier.value,
        "mode": workload.mode.value,
    }


def read_workload(row: Row) -> Workload:
    """The workload of a row."""
    return read_value(_plain(row), Workload)


def run_row(run: Run, *, labels: Labels, labels_source: str) -> dict[str, Any]:
    """The row of a run as it is opened. `seq` is the store's to give."""
    return {
        **msgspec.structs.asdict(run),
        "ancestors": write_text(run.ancestors) if run.ancestors else None,
        "narrowed": None if run.narrowed.leaves_all else write_text(run.narrowed),
        "state": RunState.OPEN.value,
        "labels_source": labels_source,
        "steps_reserved": 0,
        **labels_row(labels),
    }


def read_run(row: Row) -> StoredRun:
    """The run of a row, with what changes while it lives."""
    fields = {name: row[name] for name in _RUN_FIELDS}
    fields["ancestors"] = decode_text(row["ancestors"] or "[]")
    fields["narrowed"] = decode_text(row["narrowed"] or "{}")
    return StoredRun(
        run=read_value(fields, Run),
        state=read_value(row["state"], RunState),
        labels=read_labels(row),
        labels_source=row["labels_source"],
        steps_reserved=row["steps_reserved"],
    )


def labels_row(labels: Labels) -> dict[str, Any]:
    """The columns of a run's labels."""
    return {
        "untrusted": labels.untrusted,
        "confidentiality": int(labels.confidentiality),
        "compartments": write_text(sorted(labels.compartments)),
    }


def read_labels(row: Row) -> Labels:
    """The labels in a run's row."""
    return read_value(
        {
            "untrusted": row["untrusted"],
            "confidentiality": row["confidentiality"],
            "compartments": decode_text(row["compartments"]),
        },
        Labels,
    )


def join_sources(before: str, source: str) -> str:
    """What raised a run's labels: ids of records in the order of the raises, one space between.

    Each raise has one source, the first that brought it, and it stays.
    """
    known = before.split()
    return before if source in known else " ".join([*known, source])


def pin_row(pin: Pin) -> dict[str, Any]:
    """The row of a pin."""
    return {
        **msgspec.structs.asdict(pin),
        "kind": pin.kind.value,
        "body": write_text(pin.body),
        "traits": write_text(pin.traits),
    }


def read_pin(row: Row) -> Pin:
    """The pin of a row."""
    return read_value(
        {**_plain(row), "body": decode_text(row["body"]), "traits": decode_text(row["traits"])}, Pin
    )


def revocation_row(revocation: Revocation) -> dict[str, Any]:
    """The row of a revocation. `position` is the store's to give."""
    row = msgspec.structs.asdict(revocation)
    del row["scope"]
    scope = revocation.scope
    return {**row, "scope_kind": scope.kind.value, "scope_id": scope.id}


def read_revocation(row: Row) -> StoredRevocation:
    """The revocation of a row, with its position."""
    fields = _plain(row)
    position = fields.pop("position")
    fields["scope"] = {"kind": fields.pop("scope_kind"), "id": fields.pop("scope_id")}
    return StoredRevocation(position=position, revocation=read_value(fields, Revocation))


def _plain(row: Row) -> dict[str, Any]:
    return {str(key): value for key, value in row.items()}


def write_text(value: object) -> str:
    """A value as JSON for a column of text."""
    return msgspec.json.encode(value, order="sorted").decode()


def decode_text(text: str) -> object:
    """The JSON of a column again. `StoreUnavailable` if it is none."""
    try:
        return msgspec.json.decode(text)
    except msgspec.MsgspecError:
        raise _unreadable("JSON") from None


def read_value(value: object, kind: type[T]) -> T:
    """Plain fields as a value of the domain. `StoreUnavailable` if they are none."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.MsgspecError:
        # What is wrong is not said: the message of the decoder quotes the row.
        raise _unreadable(kind.__name__) from None


def _unreadable(kind: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"The store holds a row that is no {kind} of this version of Midflight.",
        hint="Run `midflight doctor`; restore the file or use the version that wrote it.",
    )


__all__ = [
    "Row",
    "decode_text",
    "join_sources",
    "labels_row",
    "pin_row",
    "read_labels",
    "read_pin",
    "read_revocation",
    "read_run",
    "read_value",
    "read_workload",
    "revocation_row",
    "run_row",
    "workload_row",
    "write_text",
]
