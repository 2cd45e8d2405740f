"""Rows of credentials and leases to domain values and back; strict, as `rows.py`."""

from __future__ import annotations

from typing import Any

from midflight.adapters.store.rows import Row, decode_text, read_value, write_text
from midflight.domain.lease import Credential, Lease
from midflight.services.ports.lease_store import SealedSecret

_CREDENTIAL_TEXT = ("upstreams", "injections", "settings", "scopes")


def credential_row(credential: Credential) -> dict[str, Any]:
    """The row of a credential."""
    row = {name: getattr(credential, name) for name in Credential.__struct_fields__}
    row["upstreams"] = sorted(credential.upstreams)
    return row | {name: write_text(row[name]) for name in _CREDENTIAL_TEXT}


def read_credential(row: Row) -> Credential:
    """The credential of a row."""
    fields = {name: row[name] for name in Credential.__struct_fields__}
    fields |= {name: decode_text(row[name]) for name in _CREDENTIAL_TEXT}
    return read_value(fields, Credential)


def lease_row(lease: Lease) -> dict[str, Any]:
    """The row of a lease. `seq` is the store's to give."""
    row = {name: getattr(lease, name) for name in Lease.__struct_fields__}
    return row | {"state": lease.state.value, "scopes": write_text(lease.scopes)}


def read_lease(row: Row) -> Lease:
    """The lease of a row."""
    fields = {name: row[name] for name in Lease.__struct_fields__}
    return read_value(fields | {"scopes": decode_text(row["scopes"])}, Lease)


def sealed_row(secret: SealedSecret) -> dict[str, Any]:
    """The row of a sealed secret."""
    return {name: getattr(secret, name) for name in SealedSecret.__struct_fields__}


def read_sealed(row: Row) -> SealedSecret:
    """The sealed secret of a row."""
    return read_value({name: row[name] for name in SealedSecret.__struct_fields__}, SealedSecret)


__all__ = [
    "credential_row",
    "lease_row",
    "read_credential",
    "read_lease",
    "read_sealed",
    "sealed_row",
]
