"""Approvers: people with an account here, who answer on the approval page.

What is kept of a factor proves nothing to whoever reads it: public keys, and a secret that is
sealed. Pure; the store keeps these, `services/approver_accounts.py` makes them.
"""

from __future__ import annotations

import re
from typing import ClassVar

from midflight.domain.approval import NOT_OWNER, OWNER
from midflight.domain.errors import Malformed
from midflight.domain.value import Discreet, Value

MAX_PASSKEYS = 10
MAX_GROUPS = 32
MAX_REASON = 500
"""Characters of what an approver says to his answer."""

# Lower case alone: no two accounts look alike, and none looks like a workload or like somebody of
# an outside provider (`ISSUER#NAME`).
_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}\Z")


class Approver(Discreet):
    """An account.

    Attributes:
        name: what it is called in policies, settings and records.
        groups: approvers that it may answer for besides its own name.
        disabled: nobody signs in.
        epoch: counts up whenever sessions from before must not count any more.
        totp: the sealed secret of its one-time codes, or None.
        totp_step: the last time step whose code was used; codes of it and before are spent.
        by, at: who made it, and when (Unix seconds).
    """

    shown: ClassVar[tuple[str, ...]] = ("name", "groups", "disabled")

    name: str
    groups: tuple[str, ...] = ()
    disabled: bool = False
    epoch: int = 0
    totp: str | None = None
    totp_step: int = -1
    by: str = ""
    at: int = 0


class Passkey(Discreet):
    """A public key credential of an account (WebAuthn Level 3 §4).

    Attributes:
        id: the credential's id, base64url.
        approver: whose it is.
        key: the public key, COSE-encoded.
        count: the signature counter that was seen last; 0 from one that does not count.
        added_at: Unix seconds.
    """

    shown: ClassVar[tuple[str, ...]] = ("approver",)

    id: str
    approver: str
    key: bytes
    count: int
    added_at: int

    @property
    def proof(self) -> str:
        """How records call it: enough to tell one's own keys apart."""
        return f"passkey:{self.id[:12]}"


class Enrolment(Discreet):
    """Leave to give an account a factor, once. Kept as the digest of its code."""

    digest: str
    approver: str
    expires_at: int


class BackchannelRequest(Discreet):
    """A question on its way to a person by his OpenID provider (CIBA Core 1.0 §7.3).

    Attributes:
        id: SHA-256 of the `auth_req_id`, which itself is `sealed`.
        approval, digest: what is asked about.
        approver: whose answer is awaited.
        subject: the `sub` that the ID token must have.
        interval: seconds between two polls, at least.
        asked_at, expires_at: Unix seconds.
    """

    shown: ClassVar[tuple[str, ...]] = ("approval", "approver")

    id: str
    approval: str
    digest: str
    approver: str
    subject: str
    sealed: str
    interval: int
    asked_at: int
    expires_at: int


class ApproverStatus(Value):
    """An account as operators see it: which factors it has, and never what they are."""

    name: str
    groups: tuple[str, ...]
    disabled: bool
    passkeys: int
    totp: bool
    by: str
    at: int


def approver_name(text: str) -> str:
    """The name of an account or a group, checked.

    Raises:
        Malformed: it could be mistaken for something else.
    """
    if _NAME.match(text) is None or text in {OWNER, NOT_OWNER}:
        raise Malformed(
            "An approver or a group is called by 1 to 64 of a-z, 0-9 and . _ @ + -, not `owner`.",
            hint="For owners use [approvals] groups in midflight.toml.",
        )
    return text


__all__ = [
    "MAX_GROUPS",
    "MAX_PASSKEYS",
    "MAX_REASON",
    "Approver",
    "ApproverStatus",
    "BackchannelRequest",
    "Enrolment",
    "Passkey",
    "approver_name",
]
