"""Who is the operator: the only place where an `Author` of a person is made.

Over the control socket the kernel says who called: the uid must be mapped in the settings, must not
be a workload's, and the process must not descend from anything that Midflight runs. Over loopback
TCP a short-lived token is asked for, which only the socket mints. Nothing is taken from a body.

Not in reach: a process of the operator's own uid that Midflight did not start. `midflight doctor`
warns where agents share that uid.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from midflight.apps.control.processes import (
    ReadProcess,
    ancestry,
    descends_from,
    read_process,
)
from midflight.domain.errors import Conflict, Forbidden, Unauthenticated
from midflight.domain.identity import Author, Workload
from midflight.domain.value import Value
from midflight.services.ports.clock import Clock

TOKEN_PREFIX = "mfop_"  # noqa: S105 -- what a token begins with
TOKEN_BYTES = 32
DEFAULT_TOKEN_TTL_S = 600
MAX_TOKEN_TTL_S = 900
# Nobody needs more at a time; the oldest goes first.
MAX_TOKENS_EACH = 16


class SocketPeer(Protocol):
    """What the server says of a caller on a Unix socket (SO_PEERCRED)."""

    @property
    def uid(self) -> int | None:
        """User id at the time of connect(2)."""
        ...

    @property
    def pid(self) -> int | None:
        """Process id at the time of connect(2)."""
        ...

    @property
    def process(self) -> str:
        """`PID@START` as vouched for at accept(2) by SO_PEERPIDFD; empty where it cannot be."""
        ...


class Operator(Value):
    """A person as established for one request. `on_socket`: by the kernel, not by a token.

    `process` is the caller's `PID@START` where the kernel vouches for it, else empty.
    """

    author: Author
    uid: int
    on_socket: bool
    process: str = ""


class MintedOperatorToken(Value):
    """A fresh operator token. `token` is shown once and kept nowhere."""

    token: str
    expires_at: int

    def __repr__(self) -> str:
        return f"MintedOperatorToken(expires_at={self.expires_at})"


class _Held(Value):
    """A token as it is held: its hash, for whom, and where the monotonic clock ends it."""

    digest: bytes
    uid: int
    ends: float


class Operators:
    """Knows operators. Own state: the hashes of live operator tokens, in memory only."""

    def __init__(
        self,
        *,
        names: Mapping[int, str],
        clock: Clock,
        workload_of: Callable[[int], Workload | None],
        managed_pids: Callable[[], Collection[int]],
        launcher_pids: Callable[[], Collection[int]] = frozenset,
        read: ReadProcess = read_process,
    ) -> None:
        """Args: `names` maps uid to operator; `workload_of` gives the workload that runs as a uid.

        `managed_pids()` names every process that Midflight started for workloads and upstreams,
        `launcher_pids()` those that operate themselves and whose descendants do not.
        """
        self._names = dict(names)
        self._clock = clock
        self._workload_of = workload_of
        self._managed_pids = managed_pids
        self._launcher_pids = launcher_pids
        self._read = read
        self._tokens: list[_Held] = []

    def from_socket(self, peer: SocketPeer) -> Operator:
        """The operator behind a call on the control socket.

        Raises:
            Unauthenticated: the kernel does not say who called, or the process is gone.
            Forbidden: the caller is known and is no operator.
        """
        if peer.uid is None or peer.pid is None:
            raise Unauthenticated(
                "The control socket does not say who called.",
                hint="Call from this machine, with the midflight command.",
            )
        name = self._operator(peer.uid)
        self._refuse_descendant(peer.pid, process=peer.process)
        return Operator(
            author=Author(name=name, proof=f"peer-uid:{peer.uid}"),
            uid=peer.uid,
            on_socket=True,
            process=peer.process,
        )

    def mint_token(self, operator: Operator, *, ttl_s: int | None = None) -> MintedOperatorToken:
        """A token for the control API on loopback, for an operator known by the socket.

        Raises:
            Conflict: longer than 15 minutes, or not positive.
            Forbidden: known by a token; a token must not prolong itself.
        """
        if not operator.on_socket:
            raise Forbidden(
                "Operator tokens are minted over the control socket only.",
                hint="Run `midflight operator token` on the machine of the plane.",
            )
        ttl = DEFAULT_TOKEN_TTL_S if ttl_s is None else ttl_s
        if not 0 < ttl <= MAX_TOKEN_TTL_S:
            raise Conflict(
                f"An operator token lives between 1 and {MAX_TOKEN_TTL_S} seconds.",
                hint="Mint another one when it ends.",
            )
        token = TOKEN_PREFIX + self._clock.token(TOKEN_BYTES)
        ends, expires_at = self._clock.monotonic() + ttl, self._clock.now() + ttl
        self._forget_ended()
        mine = [held for held in self._tokens if held.uid == operator.uid]
        for oldest in mine[: max(0, len(mine) - MAX_TOKENS_EACH + 1)]:
            self._tokens.remove(oldest)
        self._tokens.append(_Held(digest=_digest(token), uid=operator.uid, ends=ends))
        return MintedOperatorToken(token=token, expires_at=int(expires_at))

    def from_token(self, token: str) -> Operator:
        """The operator behind an operator token.

        Raises:
            Unauthenticated: not a live one.
            Forbidden: its operator has meanwhile ceased to be one.
        """
        presented = _digest(token)
        self._forget_ended()
        found: _Held | None = None
        for held in self._tokens:  # all of them, so that time says nothing about which
            if hmac.compare_digest(held.digest, presented):
                found = held
        if found is None:
            raise Unauthenticated(
                "This is not a live operator token.",
                hint="Mint one with `midflight operator token`; it lives at most 15 minutes.",
            )
        name = self._operator(found.uid)
        return Operator(
            author=Author(name=name, proof=f"operator-token:{found.uid}"),
            uid=found.uid,
            on_socket=False,
        )

    def is_operator(self, uid: int) -> bool:
        """Whether the settings map this uid to an operator."""
        return uid in self._names

    def _operator(self, uid: int) -> str:
        """The operator's name of a uid that is mapped and no workload's."""
        if self._workload_of(uid) is not None:
            raise Forbidden(
                f"User id {uid} belongs to a registered workload, which operates nothing.",
                hint="Call as another user, or register the workload under its own user id.",
            )
        name = self._names.get(uid)
        if name is None:
            raise Forbidden(
                f"User id {uid} is no operator.",
                hint="Add it to [control] operators in midflight.toml and start Midflight again.",
            )
        return name

    def _refuse_descendant(self, pid: int, *, process: str) -> None:
        own = os.getpid()
        if pid == own:
            return
        chain = ancestry(pid, read=self._read)
        # Before Linux 6.5 nothing vouches, and only a reused number would go unnoticed here.
        if process and process != f"{pid}@{chain[0].started}":
            raise Unauthenticated(
                "The process that connected has ended, and another one has its number.",
                hint="Call again.",
            )
        # Asked after the walk: a child that was spawned meanwhile is in the set by now.
        managed = {*self._managed_pids(), own}
        detached = descends_from(chain[1:], self._launcher_pids())
        if detached is not None or descends_from(chain, managed) is not None:
            raise Forbidden(
                "The caller descends from a process that Midflight runs, so it is no operator.",
                hint="Call from your own shell, outside of any agent or tool server.",
            )

    def _forget_ended(self) -> None:
        now = self._clock.monotonic()
        self._tokens = [held for held in self._tokens if held.ends > now]


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()


__all__ = [
    "DEFAULT_TOKEN_TTL_S",
    "MAX_TOKEN_TTL_S",
    "MintedOperatorToken",
    "Operator",
    "Operators",
    "SocketPeer",
]
