"""The error tree. A decision is a value, never an exception; these say that something broke.

    MidflightError
    ├── Malformed             bytes that do not decode
    │   ├── TooLarge          more bytes than are read
    │   └── Unsupported       bytes of a kind that is not read
    ├── Unauthenticated       no proof, or one that does not hold
    │   └── NotHolder             a good token, shown by somebody who has not what it is bound to
    ├── Forbidden             an operator or opener who may not do this
    ├── NotFound              a thing named by a person that is not there
    ├── Conflict              the state of a thing does not allow this
    ├── Misconfigured         settings or policies that are wrong, every problem at once
    ├── Interrupted           a revocation cut what was running
    └── Unavailable           a part that Midflight needs does not answer
        ├── StoreUnavailable
        ├── LedgerUnavailable
        ├── NoDocument            a document of somebody else cannot be had or is not one
        ├── UpstreamUnavailable   nothing of the action left
        ├── UpstreamBroken        the action left, and the answer is unusable or lost
        └── LeaseUnavailable      a credential that the action needs cannot be had; nothing left

Each has a stable `code`, an HTTP hint, a message that is safe for strangers, and what would help.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class MidflightError(Exception):
    """Root of the tree.

    Attributes:
        code: stable, machine-readable name of the error.
        http_status: hint for HTTP surfaces.
        message: one sentence, safe to show to strangers; never contains a secret.
        hint: what would help, or an empty string.
    """

    code: ClassVar[str] = "error"
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class Malformed(MidflightError):
    """Bytes that do not decode. `rpc_code` is the JSON-RPC error code to answer with."""

    code = "malformed"
    http_status = 400

    def __init__(self, message: str, *, hint: str = "", rpc_code: int = -32700) -> None:
        super().__init__(message, hint=hint)
        self.rpc_code = rpc_code


class TooLarge(Malformed):
    """More bytes than are read; the rest was not looked at."""

    code = "too_large"
    http_status = 413


class Unsupported(Malformed):
    """Bytes of a kind that is not read: another media type, charset or content coding."""

    code = "unsupported"
    http_status = 415


class Unauthenticated(MidflightError):
    """No proof of who calls, or one that does not hold. `challenge` is the RFC 6750 error code."""

    code = "unauthenticated"
    http_status = 401

    def __init__(self, message: str, *, hint: str = "", challenge: str = "invalid_token") -> None:
        super().__init__(message, hint=hint)
        self.challenge = challenge


class NotHolder(Unauthenticated):
    """A token that holds, shown without what it is bound to: its key, its certificate.

    To whoever shows it the same as any other refusal. For detection it is not: the token is real,
    so somebody has it who should not.
    """


class Forbidden(MidflightError):
    """The caller is known and may not do this."""

    code = "forbidden"
    http_status = 403


class NotFound(MidflightError):
    """A thing that was named is not there."""

    code = "not_found"
    http_status = 404


class Conflict(MidflightError):
    """The state of a thing does not allow this."""

    code = "conflict"
    http_status = 409


class Misconfigured(MidflightError):
    """Settings or policies that are wrong. `problems` lists every one found, not the first."""

    code = "misconfigured"

    def __init__(self, message: str, problems: Sequence[str] = (), *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join([self.message, *(f"  - {p}" for p in self.problems), self.hint]).rstrip()


class Interrupted(MidflightError):
    """A revocation cut what was running. `revocation` is its id."""

    code = "interrupted"
    http_status = 403

    def __init__(self, message: str, *, revocation: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.revocation = revocation


class Unavailable(MidflightError):
    """A part that Midflight needs does not answer; so the answer is no."""

    code = "unavailable"
    http_status = 503


class StoreUnavailable(Unavailable):
    """The system of record cannot be read or written."""

    code = "store_unavailable"


class LedgerUnavailable(Unavailable):
    """An intent cannot be made durable, so the action must not leave."""

    code = "ledger_unavailable"


class NoDocument(Unavailable):
    """A document of somebody else (a key set, metadata) cannot be had, or is none.

    `reason` is for operators and logs: strangers who may name the URL must not learn from it what
    can be reached from here.
    """

    code = "no_document"
    http_status = 502

    def __init__(self, message: str, *, reason: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class UpstreamUnavailable(Unavailable):
    """The upstream could not be reached; nothing of the action left."""

    code = "upstream_unavailable"
    http_status = 502


class UpstreamBroken(Unavailable):
    """The action left, and the upstream's answer is unusable or lost."""

    code = "upstream_broken"
    http_status = 502


class LeaseUnavailable(Unavailable):
    """A credential that the action needs cannot be leased or placed; nothing of it left."""

    code = "lease_unavailable"


__all__ = [
    "Conflict",
    "Forbidden",
    "Interrupted",
    "LeaseUnavailable",
    "LedgerUnavailable",
    "Malformed",
    "MidflightError",
    "Misconfigured",
    "NoDocument",
    "NotFound",
    "NotHolder",
    "StoreUnavailable",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "Unsupported",
    "UpstreamBroken",
    "UpstreamUnavailable",
]
