"""Policies that Midflight writes for AWS: what a session may do, and the end of a session.

Values only. Above: `aws.py`. Sources: the IAM user guide on session policies and on revoking
temporary credentials (`aws:TokenIssueTime`, `aws:userid`).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence

import msgspec

from midflight.domain.errors import Conflict
from midflight.domain.lease import NAME_PREFIX

SCOPE = r"[a-z0-9-]+:[A-Za-z0-9*]+@(?:arn:[\x21-\x3f\x41-\x7e]+|\*)"
"""Form of a scope: `ACTION@RESOURCE`, such as `s3:GetObject@arn:aws:s3:::reports/*`."""
MAX_POLICY_CHARS = 2_048
"""Of a session policy (AssumeRole, `Policy`)."""

_DENY = re.compile(re.escape(NAME_PREFIX) + r"deny-(\d{1,12})-([a-z0-9-]+)\Z")


def session_policy(scopes: Sequence[str], *, until: int) -> str:
    """What a session may do at most: these actions on these resources, until a time (Unix s).

    STS lives at least 900 s; the condition ends a shorter lease in time all the same.

    Raises:
        Conflict: more than a session policy may hold.
    """
    actions: dict[str, list[str]] = {}
    for scope in scopes:
        action, _, resource = scope.partition("@")
        actions.setdefault(resource, []).append(action)
    ends = {"DateLessThan": {"aws:CurrentTime": _time(until)}}
    policy = _document(
        [
            {"Effect": "Allow", "Action": names, "Resource": resource, "Condition": ends}
            for resource, names in actions.items()
        ]
    )
    if len(policy) > MAX_POLICY_CHARS:
        raise Conflict(
            "A lease's scopes do not fit into one session policy of AWS.",
            hint="Ask for fewer scopes at a time.",
        )
    return policy


def deny_policy(session_name: str, *, until: int) -> str:
    """Ends every session of a name that began before a time (Unix s)."""
    return _document(
        [
            {
                "Effect": "Deny",
                "Action": "*",
                "Resource": "*",
                "Condition": {
                    "StringLike": {"aws:userid": f"*:{session_name}"},
                    "DateLessThan": {"aws:TokenIssueTime": _time(until)},
                },
            }
        ]
    )


def deny_name(session_name: str, *, until: int) -> str:
    """Name of the inline policy; it says when it is no longer needed."""
    return f"{NAME_PREFIX}deny-{until}-{session_name.removeprefix(NAME_PREFIX)}"


def denies(name: str, session_name: str) -> bool:
    """Whether an inline policy is the one that ends this session."""
    ours = _DENY.match(name)
    return ours is not None and ours[2] == session_name.removeprefix(NAME_PREFIX)


def no_longer_needed(name: str, *, now: float) -> bool:
    """Whether an inline policy is one of ours whose session has ended by itself."""
    ours = _DENY.match(name)
    return ours is not None and int(ours[1]) < now


def _document(statements: list[dict[str, object]]) -> str:
    return msgspec.json.encode({"Version": "2012-10-17", "Statement": statements}).decode("ascii")


def _time(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


__all__ = [
    "MAX_POLICY_CHARS",
    "SCOPE",
    "denies",
    "deny_name",
    "deny_policy",
    "no_longer_needed",
    "session_policy",
]
