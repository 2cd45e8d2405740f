"""What attestation found out about a process or a machine: selectors, strong and weak.

A selector is one fact that an attestor established by itself. A weak one could be arranged by the
caller (its command line, its working directory); it narrows and never suffices alone. A
registration entry says which selectors together make which SPIFFE ID.
"""

from __future__ import annotations

from collections.abc import Collection

from midflight.domain.value import Value

WEAK: frozenset[tuple[str, str]] = frozenset(
    {
        ("unix", "script"),
        ("unix", "script_sha256"),
        ("unix", "cwd"),
        ("unix", "venv"),
        ("unix", "parent"),
    }
)
"""(type, first part of the value) of what its caller controls."""


class Selector(Value, order=True):
    """One fact: `unix:uid:1000` has type `unix` and value `uid:1000`."""

    type: str
    value: str

    @property
    def weak(self) -> bool:
        """Whether the caller could have arranged it."""
        return (self.type, self.value.partition(":")[0]) in WEAK

    def __str__(self) -> str:
        return f"{self.type}:{self.value}"

    @classmethod
    def parse(cls, text: str) -> Selector:
        """From `type:value`. `ValueError` if it is not that."""
        kind, separator, value = text.partition(":")
        if not separator or not kind or not value or len(text) > 1024 or not text.isprintable():
            raise ValueError(f"{text!r} is not a selector such as unix:uid:1000")
        return cls(type=kind, value=value)


class Process(Value):
    """A peer process, as the kernel vouches for it.

    Attributes:
        pid, uid, gid: of the process that connected.
        start: `PID@START`, start time in clock ticks since boot; tells a process from a later one.
    """

    pid: int
    uid: int
    gid: int
    start: str


class Attested(Value):
    """What was established about a caller. `process` is its `start`, or empty for a remote one."""

    selectors: frozenset[Selector]
    process: str = ""
    uid: int | None = None


class Entry(Value):
    """A registration entry: whoever has all the selectors is that workload.

    Attributes:
        id: `entry_` and 26 characters.
        spiffe_id: of a registered workload, which brings the owner.
        selectors: all must hold; at least one is strong.
        x509_ttl_s, jwt_ttl_s: life of its SVIDs; at most one hour and five minutes.
        federates_with: trust domains whose bundles it is given.
        hint: tells several identities of one process apart (Workload API `hint`).
        run: the run it was made for, or None; it ends with that run.
        expires_at: Unix seconds, or None.
        added_by, proof, added_at: who made it, how that was proved, Unix seconds.
    """

    id: str
    spiffe_id: str
    selectors: frozenset[Selector]
    x509_ttl_s: int = 3_600
    jwt_ttl_s: int = 300
    federates_with: tuple[str, ...] = ()
    hint: str = ""
    run: str | None = None
    expires_at: int | None = None
    added_by: str = ""
    proof: str = ""
    added_at: int = 0

    def matches(self, found: Collection[Selector]) -> bool:
        """Whether all of its selectors were found. An entry of weak ones alone matches nobody."""
        return self.selectors <= frozenset(found) and not all(s.weak for s in self.selectors)


__all__ = ["WEAK", "Attested", "Entry", "Process", "Selector"]
