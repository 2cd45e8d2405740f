"""The tables of shared signals: a part of `schema.py`."""

from __future__ import annotations

from sqlalchemy import Column, Double, Index, Table, Text

from midflight.adapters.store.schema import METADATA, WIDE

ssf_streams = Table(
    "ssf_streams",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("client", Text, nullable=False),
    Column("created_at", WIDE, nullable=False),
    Column("body", Text, nullable=False),
    Column("dropped", WIDE, nullable=False),
    Index(None, "client"),
)

# Numbers are never used twice: "up to this one" means the same when all events are gone.
ssf_events = Table(
    "ssf_events",
    METADATA,
    Column("number", WIDE, primary_key=True, autoincrement=True),
    Column("stream", Text, nullable=False),
    Column("jti", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("claims", Text, nullable=False),
    Column("at", Double, nullable=False),
    Index("ix_ssf_events_stream_number", "stream", "number"),
    Index("ix_ssf_events_stream_jti", "stream", "jti", unique=True),
    sqlite_autoincrement=True,
)

ssf_sets = Table(
    "ssf_sets",
    METADATA,
    Column("receiver", Text, primary_key=True),
    Column("jti", Text, primary_key=True),
    Column("text", Text, nullable=False),
    Column("at", WIDE, nullable=False),
    Column("outcome", Text, nullable=False),
    Index("ix_ssf_sets_receiver_at", "receiver", "at"),
)

__all__ = ["ssf_events", "ssf_sets", "ssf_streams"]
