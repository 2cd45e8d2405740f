"""The tables of the system of record, in SQLAlchemy Core: the same for every database.

What a column means stands at the domain value of the same field name. Migrations bring a database
here step by step (`migrations/versions`); a test compares the two. `REVISION` is the last step.

Unix seconds and counters are 64 bits wide, so that nothing ends in 2038.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)

REVISION = "0016_tasks"

# SQLite only counts an INTEGER primary key up by itself, and its integers have 64 bits anyway.
WIDE = BigInteger().with_variant(Integer, "sqlite")

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
    }
)

workloads = Table(
    "workloads",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("escalation", Text, nullable=False),
    Column("review_by", WIDE, nullable=False),
    Column("team", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("tier", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("uid", WIDE),
    Column("disabled", Boolean, nullable=False),
    Column("registered_at", WIDE, nullable=False),
    Column("waiver_by", Text),
    Column("waiver_until", WIDE),
)

# `seq` is the order in which runs were opened: the clocks of two replicas may disagree about it.
runs = Table(
    "runs",
    METADATA,
    Column("seq", WIDE, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("workload", Text, nullable=False),
    Column("intent", Text),
    Column("opened_by", Text, nullable=False),
    Column("opened_at", WIDE, nullable=False),
    Column("expires_at", WIDE, nullable=False),
    Column("idle_timeout", WIDE, nullable=False),
    Column("max_steps", WIDE, nullable=False),
    Column("salt", Text, nullable=False),
    Column("implicit", Boolean, nullable=False),
    Column("parent", Text),
    Column("state", Text, nullable=False),
    Column("untrusted", Boolean, nullable=False),
    Column("confidentiality", Integer, nullable=False),
    Column("compartments", Text, nullable=False),
    Column("labels_source", Text, nullable=False),
    Column("steps_reserved", WIDE, nullable=False),
    Column("ancestors", Text),
    Column("narrowed", Text),
    Column("delegated", Text),
    CheckConstraint("steps_reserved >= 0 AND steps_reserved <= max_steps", name="budget"),
    Index(None, "workload", "seq"),
    Index(None, "state", "seq"),
    Index(None, "parent", "seq"),
)

pins = Table(
    "pins",
    METADATA,
    Column("upstream", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("traits", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("at", WIDE, nullable=False),
)

revocations = Table(
    "revocations",
    METADATA,
    Column("position", WIDE, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False, unique=True),
    Column("scope_kind", Text, nullable=False),
    Column("scope_id", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("proof", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("until", Double),
    Column("lifts", Text),
)

seal_keys = Table(
    "seal_keys",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("wrapped", LargeBinary, nullable=False),
)

snapshots = Table(
    "snapshots",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("body", LargeBinary, nullable=False),
)

used_once = Table(
    "used_once",
    METADATA,
    Column("purpose", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("until", WIDE, nullable=False),
    Index(None, "until"),
)

flows = Table(
    "flows",
    METADATA,
    Column("run", Text, primary_key=True),
    Column("index", LargeBinary, nullable=False),
    Column("phrase_seen", Boolean, nullable=False),
)

flow_effects = Table(
    "flow_effects",
    METADATA,
    Column("run", Text, primary_key=True),
    Column("upstream", Text, primary_key=True),
    Column("tool", Text, primary_key=True),
    Column("count", WIDE, nullable=False),
)

flow_marks = Table(
    "flow_marks",
    METADATA,
    Column("upstream", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("run", Text, nullable=False),
    Column("at", WIDE, nullable=False),
)

# `seq` is the order in which they were filed. At most one of a digest is live; the store cares.
approvals = Table(
    "approvals",
    METADATA,
    Column("seq", WIDE, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("digest", Text, nullable=False),
    Column("run", Text, nullable=False),
    Column("workload", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("upstream", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("arguments", Text, nullable=False),
    Column("reasons", Text, nullable=False),
    Column("approvers", Text, nullable=False),
    Column("shown", Text, nullable=False),
    Column("created_at", WIDE, nullable=False),
    Column("expires_at", WIDE, nullable=False),
    Column("state", Text, nullable=False),
    Column("answers", Text, nullable=False),
    Index(None, "digest", "seq"),
    Index(None, "run", "seq"),
    Index(None, "state", "seq"),
)

counterparties = Table(
    "counterparties",
    METADATA,
    Column("owner", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("text", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("added_by", Text, nullable=False),
    Column("proof", Text, nullable=False),
    Column("added_at", WIDE, nullable=False),
    Column("expires_at", WIDE, nullable=False),
    Column("approval", Text, nullable=False),
)

# `seq` is the order in which they were given out.
held = Table(
    "held",
    METADATA,
    Column("seq", WIDE, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("form", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("approval", Text, nullable=False),
    Column("workload", Text, nullable=False),
    Column("run", Text, nullable=False),
    Column("bound", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("shown", Boolean, nullable=False),
    Column("rounds", WIDE, nullable=False),
    Column("created_at", WIDE, nullable=False),
    Column("expires_at", WIDE, nullable=False),
    Index(None, "run", "seq"),
    Index(None, "workload", "seq"),
    Index(None, "expires_at"),
)

canaries = Table(
    "canaries",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("shape", Text, nullable=False),
    Column("upstream", Text, nullable=False),
    Column("windows", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("at", WIDE, nullable=False),
)

# `seq` is the order in which entries were appended.
responses = Table(
    "responses",
    METADATA,
    Column("seq", WIDE, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("until", Double, nullable=False),
    Column("body", Text, nullable=False),
    Index(None, "until"),
)

credentials = Table(
    "credentials",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("backend", Text, nullable=False),
    Column("upstreams", Text, nullable=False),
    Column("injections", Text, nullable=False),
    Column("settings", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("ttl_s", WIDE, nullable=False),
    Column("max_ttl_s", WIDE, nullable=False),
    Column("added_by", Text, nullable=False),
    Column("proof", Text, nullable=False),
    Column("added_at", WIDE, nullable=False),
)

sealed_secrets = Table(
    "sealed_secrets",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("wrapped", LargeBinary, nullable=False),
    Column("box", LargeBinary, nullable=False),
    Column("sealed_at", WIDE, nullable=False),
    Column("sealed_by", Text, nullable=False),
)

# `seq` is the order in which they were written down; `holder` names the process that asked for it
# and alone has its secret.
leases = Table(
    "leases",
    METADATA,
    Column("seq", WIDE, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("credential", Text, nullable=False),
    Column("backend", Text, nullable=False),
    Column("external", Text, nullable=False, unique=True),
    Column("run", Text, nullable=False),
    Column("workload", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_at", WIDE, nullable=False),
    Column("expires_at", WIDE, nullable=False),
    Column("max_expires_at", WIDE, nullable=False),
    Column("handle", Text, nullable=False),
    Column("parent", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("attempts", WIDE, nullable=False),
    Column("next_try_at", WIDE, nullable=False),
    Column("error", Text, nullable=False),
    Column("stuck", Boolean, nullable=False),
    Column("holder", Text, nullable=False),
    Index(None, "run", "seq"),
    Index(None, "credential", "seq"),
    Index(None, "state", "next_try_at"),
)

entries = Table(
    "entries",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("spiffe_id", Text, nullable=False),
    Column("selectors", Text, nullable=False),
    Column("x509_ttl_s", WIDE, nullable=False),
    Column("jwt_ttl_s", WIDE, nullable=False),
    Column("federates_with", Text, nullable=False),
    Column("hint", Text, nullable=False),
    Column("run", Text),
    Column("expires_at", WIDE),
    Column("added_by", Text, nullable=False),
    Column("proof", Text, nullable=False),
    Column("added_at", WIDE, nullable=False),
)

join_tokens = Table(
    "join_tokens",
    METADATA,
    Column("digest", Text, primary_key=True),
    Column("id", Text, nullable=False),
    Column("spiffe_id", Text, nullable=False),
    Column("expires_at", WIDE, nullable=False),
    Column("added_by", Text, nullable=False),
    Column("proof", Text, nullable=False),
    Column("added_at", WIDE, nullable=False),
)

launches = Table(
    "launches",
    METADATA,
    Column("run", Text, primary_key=True),
    Column("workload", Text, nullable=False),
    Column("process", Text, nullable=False),
    Column("launcher", Text, nullable=False),
    Column("boot", Text, nullable=False),
    Column("uid", WIDE, nullable=False),
    Column("author", Text, nullable=False),
    Column("proof", Text, nullable=False),
    Column("at", WIDE, nullable=False),
)

oauth_clients = Table(
    "oauth_clients",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("body", Text, nullable=False),
)

oauth_codes = Table(
    "oauth_codes",
    METADATA,
    Column("digest", Text, primary_key=True),
    Column("body", Text, nullable=False),
    Column("used", Boolean, nullable=False),
    Column("expires_at", WIDE, nullable=False),
    Index(None, "expires_at"),
)

oauth_refreshes = Table(
    "oauth_refreshes",
    METADATA,
    Column("digest", Text, primary_key=True),
    Column("body", Text, nullable=False),
    Column("used", Boolean, nullable=False),
    Column("expires_at", WIDE, nullable=False),
    Index(None, "expires_at"),
)

oauth_grants = Table(
    "oauth_grants",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("body", Text, nullable=False),
    Column("ended", Boolean, nullable=False),
    Column("expires_at", WIDE, nullable=False),
    Index(None, "expires_at"),
)

oauth_tokens = Table(
    "oauth_tokens",
    METADATA,
    Column("token", Text, primary_key=True),
    Column("grant_id", Text, nullable=False),
    Column("expires_at", WIDE, nullable=False),
    Index(None, "grant_id"),
    Index(None, "expires_at"),
)

notices = Table(
    "notices",
    METADATA,
    Column("seq", WIDE, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("subject", Text, nullable=False, unique=True),
    Column("version", WIDE, nullable=False),
    Column("ended_at", WIDE, nullable=False),
    Column("body", Text, nullable=False),
    Index(None, "ended_at"),
)

break_glass = Table(
    "break_glass",
    METADATA,
    Column("seq", WIDE, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("reviewed", Boolean, nullable=False),
    Column("body", Text, nullable=False),
    Index(None, "reviewed"),
)

upstream_tasks = Table(
    "upstream_tasks",
    METADATA,
    Column("seq", WIDE, primary_key=True),
    Column("run", Text, nullable=False),
    Column("upstream", Text, nullable=False),
    Column("task", Text, nullable=False),
    Column("body", Text, nullable=False),
    Index(None, "run", "upstream", "task", unique=True),
)

__all__ = [
    "METADATA",
    "REVISION",
    "WIDE",
    "approvals",
    "break_glass",
    "canaries",
    "counterparties",
    "credentials",
    "entries",
    "flow_effects",
    "flow_marks",
    "flows",
    "held",
    "join_tokens",
    "launches",
    "leases",
    "notices",
    "oauth_clients",
    "oauth_codes",
    "oauth_grants",
    "oauth_refreshes",
    "oauth_tokens",
    "pins",
    "responses",
    "revocations",
    "runs",
    "seal_keys",
    "sealed_secrets",
    "snapshots",
    "upstream_tasks",
    "used_once",
    "workloads",
]
