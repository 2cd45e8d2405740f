"""What a role of PostgreSQL reaches that may not be lent, since it could widen or outlive a lease.

Whoever is a member of a role can become it (`SET ROLE`), and everything that it is a member of in
turn. One that becomes a role that may log in sets its password, and logs in as it when the lease is
over; one with CREATEROLE or an admin option makes or equips another role; and what reads or writes
files of the server, or runs programs there, is the server. Above: `postgres.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from midflight.adapters.credentials.postgres_ending import Session
from midflight.domain.errors import Misconfigured

_SHOWN = 4
_REACHED = """
WITH reached AS (
  SELECT r.*, r.rolname = ANY($1::text[]) AS is_lent FROM pg_catalog.pg_roles r WHERE EXISTS (
    SELECT FROM pg_catalog.pg_roles lent
    WHERE lent.rolname = ANY($1::text[])
      AND pg_catalog.pg_has_role(lent.oid, r.oid, 'MEMBER')))
SELECT role, why FROM (
  SELECT rolname AS role, is_lent, CASE
    WHEN rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls
      OR rolname IN ('pg_execute_server_program', 'pg_read_server_files',
                     'pg_write_server_files', 'pg_signal_backend')
    THEN 'could give itself anything'
    WHEN rolcanlogin THEN 'may log in, so that a lease could set its password'
    WHEN EXISTS (SELECT FROM pg_catalog.pg_auth_members m
                 WHERE m.member = reached.oid AND m.admin_option)
    THEN 'has an admin option, so that a lease could grant for good'
    END AS why
  FROM reached) AS each
WHERE why IS NOT NULL ORDER BY NOT is_lent, role
"""


async def risks(session: Session, roles: Sequence[str]) -> list[str]:
    """Roles that these roles are, or can become, and that may not be lent: a sentence for each."""
    found = await session.fetch(_REACHED, list(roles))
    return [f"{row['role']} {row['why']}" for row in found]


async def refuse_risks(session: Session, roles: Sequence[str], *, credential: str) -> None:
    """`Misconfigured` if what is to be lent could be used to widen or outlive the lease."""
    found = await risks(session, roles)
    if found:
        more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise Misconfigured(
            f"Credential {credential} would lend roles that are, or can become, ones that may not "
            f"be lent: {'; '.join(found[:_SHOWN])}{more}.",
            hint="Lend roles without LOGIN, attributes such as CREATEROLE and admin options, and "
            "that are members of no such role.",
        )


__all__ = ["refuse_risks", "risks"]
