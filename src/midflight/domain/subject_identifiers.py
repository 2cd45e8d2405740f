"""Subject identifiers of security events: whom an event is about (RFC 9493, SSF 1.0 §3).

Values, their JSON, and when two are of the same subject. Reading strange JSON is `wire/ssf`'s.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from midflight.domain.value import JSONObject, Value


class Email(Value, tag_field="format", tag="email"):
    """RFC 9493 §3.2.2."""

    email: str


class IssSub(Value, tag_field="format", tag="iss_sub"):
    """RFC 9493 §3.2.3: a name that an issuer gave."""

    iss: str
    sub: str


class Opaque(Value, tag_field="format", tag="opaque"):
    """RFC 9493 §3.2.4: a name that both sides know, such as the id of a stream."""

    id: str


class JwtId(Value, tag_field="format", tag="jwt_id"):
    """SSF 1.0 §3.5.1: one token."""

    iss: str
    jti: str


class OtherSubject(Value, tag_field="format", tag="midflight:other"):
    """A format that nothing here can be found by. `name` is what it calls itself."""

    name: str


Simple: TypeAlias = Email | IssSub | Opaque | JwtId | OtherSubject


class Complex(Value, tag_field="format", tag="complex"):
    """SSF 1.0 §3.3: one subject by several of its attributes (`user`, `session`, `tenant` …)."""

    members: dict[str, Simple]


Subject: TypeAlias = Email | IssSub | Opaque | JwtId | OtherSubject | Complex


def described(subject: Subject) -> JSONObject:
    """The subject as events carry it."""
    if isinstance(subject, Complex):
        return {
            "format": "complex",
            **{name: described(member) for name, member in subject.members.items()},
        }
    if isinstance(subject, OtherSubject):
        return {"format": subject.name}
    found: JSONObject = msgspec.to_builtins(subject)
    return found


def covers(named: Subject, subject: Subject) -> bool:
    """Whether what a receiver named is the subject of an event (SSF 1.0 §8.1.3.1).

    Two complex subjects match where no member of both differs. That alone would let a receiver
    that leaves out one user leave out every event of the whole tenant, too; so one member has to be
    in both.
    """
    if not isinstance(named, Complex) or not isinstance(subject, Complex):
        return named == subject
    both = named.members.keys() & subject.members.keys()
    return bool(both) and all(named.members[name] == subject.members[name] for name in both)


def members(subject: Subject) -> tuple[Simple, ...]:
    """A simple subject itself, or the members of a complex one."""
    return tuple(subject.members.values()) if isinstance(subject, Complex) else (subject,)


__all__ = [
    "Complex",
    "Email",
    "IssSub",
    "JwtId",
    "Opaque",
    "OtherSubject",
    "Simple",
    "Subject",
    "covers",
    "described",
    "members",
]
