"""Traits: what a tool can do, what its arguments are for, and whose words its results hold.

An operator reviews them, in a file per upstream; `domain/proposal/` proposes them from the
manifest. What nobody said anything about counts as the worst that is not absurd. What an upstream
says about itself may raise protection and never lower it.
"""

from __future__ import annotations

import enum

from midflight.domain.labels import Confidentiality, Labels
from midflight.domain.value import Value


class Effect(enum.StrEnum):
    """What a tool does to the world; the action groups of policies."""

    READ = "read"
    WRITE = "write"
    DELETE = "delete"
    SEND = "send"
    PAY = "pay"
    EXECUTE = "execute"
    GRANT = "grant"
    INSTRUCT = "instruct"


class Reach(enum.StrEnum):
    """Whether a tool touches only what its owner controls, or anything anybody can write to."""

    CLOSED = "closed"
    OPEN = "open"


class Role(enum.StrEnum):
    """What an argument is for. Stored in records and named in policies: append, never change."""

    RECIPIENT = "recipient"
    """Who gets it: an address, a person, a channel."""
    ACCOUNT = "account"
    """Where money goes."""
    AMOUNT = "amount"
    """How much."""
    URL = "url"
    """Where a request goes: an address, a host."""
    PATH = "path"
    """A place in a file system."""
    OBJECT = "object"
    """What is acted upon: the id or the name of something that exists."""
    COMMAND = "command"
    """What is executed: a program, a query language, code."""
    SCOPE = "scope"
    """A right, a role, a permission."""
    CREDENTIAL = "credential"
    """A password, a key, a token."""
    CONTENT = "content"
    """Words that are stored or sent: a body, a text, the content of a file."""
    TITLE = "title"
    """A short name of something new: a subject, a file name, a label."""
    QUERY = "query"
    """Words to look for."""
    TIME = "time"
    """A date, a time, a duration."""
    SETTING = "setting"
    """Everything else: flags, counts, choices."""


KEY_ROLES = frozenset(
    {
        Role.RECIPIENT,
        Role.ACCOUNT,
        Role.AMOUNT,
        Role.URL,
        Role.PATH,
        Role.OBJECT,
        Role.COMMAND,
        Role.SCOPE,
        Role.CREDENTIAL,
    }
)
"""Roles that decide whom or what an effect reaches: their origin is judged."""

CONTENT_ROLES = frozenset({Role.CONTENT, Role.TITLE, Role.QUERY})
"""Roles that carry words: they are judged by what they carry."""


class FieldKind(enum.StrEnum):
    """Whose words a field of a result holds."""

    SYSTEM = "system"
    """Made by the upstream: ids, dates, states, numbers. Trusted in a closed world."""
    NAME = "name"
    """What somebody called something. May be selected; never an account, an address, a secret."""
    CONTACT = "contact"
    """Who takes part: senders, participants, counterparties. Anybody can put himself there."""
    TEXT = "text"
    """Prose that somebody wrote: untrusted."""
    OWN = "own"
    """Prose of the owner: trusted."""


class Argument(Value):
    """What one argument is for. `path` is its name, with `.name` and `[*]` for what is inside."""

    path: str
    role: Role


class Yield(Value):
    """What one part of a result is.

    Attributes:
        path: JSON path: `$` and steps `.name`, `[*]`, and `..name` for a name at any depth.
        kind: whose words.
        confidentiality, compartments: how far it may go.
        domains: the fields named `unless_field` beside it hold an address of one of these
            domains: then the field is `OWN` instead (`sender` of the owner's own domain).
        unless_field: name of the field beside it that `domains` is about.
    """

    path: str
    kind: FieldKind = FieldKind.TEXT
    confidentiality: Confidentiality = Confidentiality.PUBLIC
    compartments: frozenset[str] = frozenset()
    unless_field: str = ""
    domains: frozenset[str] = frozenset()

    def labels(self) -> Labels:
        """The labels of a value there, by its kind."""
        return Labels(
            untrusted=self.kind is FieldKind.TEXT,
            confidentiality=self.confidentiality,
            compartments=self.compartments,
        )


class Traits(Value):
    """What a tool can do. The default is the worst that is not absurd: an open-world effect.

    Attributes:
        effect, reach: see there.
        reviewed: an operator has said so.
        proposed: derived from the manifest, and no person has confirmed it.
        arguments: what its arguments are for; those that are not named are guessed by name.
        yields: what its results hold, the first that matches; what none matches is guessed by name
            and shape.
        first_party: prose in its results was written by the owner's own people.
        persists: what is written through it can be read again, by other runs too.
    """

    effect: Effect = Effect.EXECUTE
    reach: Reach = Reach.OPEN
    reviewed: bool = False
    proposed: bool = False
    arguments: tuple[Argument, ...] = ()
    yields: tuple[Yield, ...] = ()
    first_party: bool = False
    persists: bool = True


__all__ = [
    "CONTENT_ROLES",
    "KEY_ROLES",
    "Argument",
    "Effect",
    "FieldKind",
    "Reach",
    "Role",
    "Traits",
    "Yield",
]
