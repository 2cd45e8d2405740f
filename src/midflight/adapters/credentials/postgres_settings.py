"""Settings of a PostgreSQL credential, checked once, with all problems at once.

host, port, database    where; a path that begins with `/` is a Unix socket's folder
user, password          of the administrator; the password by reference
tls                     `verify-full` (default), or `off` for this machine alone: then the server
                        must ask for scram-sha-256, in which it proves who it is
ca                      file of the authority; the system's authorities without it
roles                   scope to role, where they have different names
connections             sessions that one lease may open, 10 without it

Above: `postgres.py`.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Any

import msgspec

from midflight.domain.errors import Misconfigured
from midflight.domain.lease import Credential
from midflight.domain.value import Value
from midflight.services.credentials import REFERENCE
from midflight.services.lease_asking import SCOPE_EFFECTS

_HERE = ("127.0.0.1", "::1", "localhost")
_VERIFY, _OFF = "verify-full", "off"
MAX_NAME = 63
"""Bytes of a PostgreSQL name (NAMEDATALEN - 1); longer ones would be cut in silence."""


class PostgresSettings(Value, forbid_unknown_fields=True):
    """See the module."""

    host: str
    user: str
    password: str
    database: str = "postgres"
    port: int = 5432
    tls: str = _VERIFY
    ca: str = ""
    roles: dict[str, str] = {}
    connections: int = 10

    def role(self, scope: str) -> str:
        """The role that a scope stands for."""
        return self.roles.get(scope, scope)

    def context(self) -> ssl.SSLContext | None:
        """TLS to the server, or None for none. `Misconfigured` if the authority is unreadable."""
        if self.tls == _OFF or self.host.startswith("/"):
            return None
        try:
            return ssl.create_default_context(cafile=self.ca or None)
        except (OSError, ssl.SSLError):
            raise Misconfigured(f"The authority {self.ca} cannot be read.") from None


def read_settings(credential: Credential) -> PostgresSettings:
    """The settings of a credential. `Misconfigured` with every problem at once."""
    given: dict[str, Any] = {k: v for k, v in credential.settings.items() if k != SCOPE_EFFECTS}
    if isinstance(port := given.get("port"), str) and port.isdecimal():
        given["port"] = int(port)
    try:
        settings = msgspec.convert(given, PostgresSettings)
    except msgspec.ValidationError as error:
        # What is wrong is said by name and type; a value that is of the wrong type is not shown.
        raise Misconfigured(f"Credential {credential.name} cannot be used: {error}.") from None
    problems = list(_problems(credential, settings))
    if problems:
        raise Misconfigured(
            f"Credential {credential.name} cannot be used: {'; '.join(problems)}.",
            hint="--set host=db.example.com --set user=admin --secret password=file:PATH",
        )
    return settings


def _problems(credential: Credential, settings: PostgresSettings) -> Sequence[str]:
    found: list[str] = []
    if not settings.host or not settings.user or not settings.database:
        found.append("host, user and database: none may be empty")
    if REFERENCE.match(settings.password) is None:
        found.append("password: name it by env:NAME, file:PATH or sealed")
    if settings.tls not in (_VERIFY, _OFF):
        found.append(f"tls: {_VERIFY} or {_OFF}")
    if settings.tls == _OFF and not (settings.host in _HERE or settings.host.startswith("/")):
        found.append("tls: off is for this machine alone, and the host is another")
    if not 0 < settings.port < 65_536:
        found.append("port: 1 to 65535")
    if not 0 < settings.connections <= 1_000:
        found.append("connections: 1 to 1000")
    return [*found, *_problems_of_roles(credential, settings)]


def _problems_of_roles(credential: Credential, settings: PostgresSettings) -> Sequence[str]:
    found: list[str] = []
    if not credential.scopes:
        found.append("scopes: name the roles that a lease is a member of")
    for scope in credential.scopes:
        role = settings.role(scope)
        if not 0 < len(role.encode()) <= MAX_NAME or "\0" in role:
            found.append(f"scopes: {scope!r} is no name of a role")
    if unknown := sorted(settings.roles.keys() - set(credential.scopes)):
        found.append(f"roles: {', '.join(unknown)} are no scopes")
    return found


__all__ = ["MAX_NAME", "PostgresSettings", "read_settings"]
