"""Security events: their types, what one says, and the refusal of one that does not hold.

OpenID Shared Signals Framework 1.0, CAEP 1.0, RISC 1.0; a security event travels as a SET
(RFC 8417). Values only: bytes are `wire/ssf`'s, streams `shared_stream.py`'s.
"""

from __future__ import annotations

import enum
from typing import Final

from midflight.domain.errors import Malformed
from midflight.domain.subject_identifiers import Subject, described
from midflight.domain.value import Discreet, JSONObject

_CAEP: Final = "https://schemas.openid.net/secevent/caep/event-type/"
_RISC: Final = "https://schemas.openid.net/secevent/risc/event-type/"
_SSF: Final = "https://schemas.openid.net/secevent/ssf/event-type/"

SET_TYPE: Final = "secevent+jwt"
"""The `typ` of a SET (RFC 8417 §2.3), which no other token here has."""
SET_ALGORITHM: Final = "RS256"
"""CAEP interoperability profile, "Event Signatures"."""

SESSION_REVOKED: Final = _CAEP + "session-revoked"
TOKEN_CLAIMS_CHANGE: Final = _CAEP + "token-claims-change"
CREDENTIAL_CHANGE: Final = _CAEP + "credential-change"
ASSURANCE_LEVEL_CHANGE: Final = _CAEP + "assurance-level-change"
DEVICE_COMPLIANCE_CHANGE: Final = _CAEP + "device-compliance-change"
RISK_LEVEL_CHANGE: Final = _CAEP + "risk-level-change"
ACCOUNT_DISABLED: Final = _RISC + "account-disabled"
ACCOUNT_PURGED: Final = _RISC + "account-purged"
CREDENTIAL_COMPROMISE: Final = _RISC + "credential-compromise"
SESSIONS_REVOKED: Final = _RISC + "sessions-revoked"
VERIFICATION: Final = _SSF + "verification"
STREAM_UPDATED: Final = _SSF + "stream-updated"

OF_STREAMS: Final = (VERIFICATION, STREAM_UPDATED)
"""Events about a stream itself, which no receiver need ask for."""
SENT: Final = (SESSION_REVOKED, CREDENTIAL_CHANGE, RISK_LEVEL_CHANGE)
"""What this transmitter can say of workloads, runs, tokens and credentials."""
JUDGED: Final = (
    SESSION_REVOKED,
    TOKEN_CLAIMS_CHANGE,
    CREDENTIAL_CHANGE,
    ASSURANCE_LEVEL_CHANGE,
    DEVICE_COMPLIANCE_CHANGE,
    RISK_LEVEL_CHANGE,
    ACCOUNT_DISABLED,
    ACCOUNT_PURGED,
    CREDENTIAL_COMPROMISE,
    SESSIONS_REVOKED,
)
"""What a receiver may act on, as its settings say."""


def short(kind: str) -> str:
    """The last part of a type: `session-revoked`."""
    return kind.rpartition("/")[2][:64]


JUDGED_NAMES: Final = frozenset(map(short, JUDGED))


class SetError(enum.StrEnum):
    """Error codes of RFC 8935 §2.4, and that of SSF 1.0 §8.1.4.1."""

    INVALID_REQUEST = "invalid_request"
    INVALID_KEY = "invalid_key"
    INVALID_ISSUER = "invalid_issuer"
    INVALID_AUDIENCE = "invalid_audience"
    AUTHENTICATION_FAILED = "authentication_failed"
    ACCESS_DENIED = "access_denied"
    INVALID_STATE = "invalid_state"


class SetRefused(Malformed):
    """A SET that is not taken. `err` is told to whoever sent it, and so is the message."""

    code = "set_refused"

    def __init__(self, err: SetError, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.err = err


class SecurityEvent(Discreet):
    """One event out of a SET that holds.

    Attributes:
        issuer: `iss`: who says so.
        jti: id of the SET, unique for its issuer.
        issued_at: `iat`, Unix seconds.
        kind: the type, a URI.
        subject: `sub_id`.
        event: what stands under the type.
        txn: what caused it, or empty.
    """

    shown = ("issuer", "jti", "kind")

    issuer: str
    jti: str
    issued_at: int
    kind: str
    subject: Subject
    event: JSONObject
    txn: str = ""


def claims_of(event: SecurityEvent, *, audience: str) -> JSONObject:
    """The claims of its SET: no `sub`, no `exp`, one event (SSF 1.0 §4.1, CAEP interop §2.9)."""
    claims: JSONObject = {
        "iss": event.issuer,
        "jti": event.jti,
        "iat": event.issued_at,
        "aud": audience,
        "sub_id": described(event.subject),
        "events": {event.kind: event.event},
    }
    if event.txn:
        claims["txn"] = event.txn
    return claims


__all__ = [
    "ACCOUNT_DISABLED",
    "ACCOUNT_PURGED",
    "ASSURANCE_LEVEL_CHANGE",
    "CREDENTIAL_CHANGE",
    "CREDENTIAL_COMPROMISE",
    "DEVICE_COMPLIANCE_CHANGE",
    "JUDGED",
    "JUDGED_NAMES",
    "OF_STREAMS",
    "RISK_LEVEL_CHANGE",
    "SENT",
    "SESSIONS_REVOKED",
    "SESSION_REVOKED",
    "SET_ALGORITHM",
    "SET_TYPE",
    "STREAM_UPDATED",
    "TOKEN_CLAIMS_CHANGE",
    "VERIFICATION",
    "SecurityEvent",
    "SetError",
    "SetRefused",
    "claims_of",
    "short",
]
