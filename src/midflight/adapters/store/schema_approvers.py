"""The tables of approvers: a part of `schema.py`. What a column means stands at the values."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, LargeBinary, Table, Text

from midflight.adapters.store.schema import METADATA, WIDE

approvers = Table(
    "approvers",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("groups", Text, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("epoch", WIDE, nullable=False),
    Column("totp", Text),
    Column("totp_step", WIDE, nullable=False),
    Column("by", Text, nullable=False),
    Column("at", WIDE, nullable=False),
)

approver_passkeys = Table(
    "approver_passkeys",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("approver", Text, nullable=False),
    Column("key", LargeBinary, nullable=False),
    Column("count", WIDE, nullable=False),
    Column("added_at", WIDE, nullable=False),
    Index(None, "approver"),
)

approver_enrolments = Table(
    "approver_enrolments",
    METADATA,
    Column("digest", Text, primary_key=True),
    Column("approver", Text, nullable=False, unique=True),
    Column("expires_at", WIDE, nullable=False),
)

backchannel_requests = Table(
    "backchannel_requests",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("approval", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("approver", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("sealed", Text, nullable=False),
    Column("interval", WIDE, nullable=False),
    Column("asked_at", WIDE, nullable=False),
    Column("expires_at", WIDE, nullable=False),
)

__all__ = ["approver_enrolments", "approver_passkeys", "approvers", "backchannel_requests"]
