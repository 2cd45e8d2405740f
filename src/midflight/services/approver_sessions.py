"""Who is signed in on the approval page: short, here alone, and over when an operator says so.

A cookie is a name that this process made up; what it stands for never leaves. It ends after a
quarter of an hour without a page, after eight hours in any case, with this process, and with any
change of the account. A fresh proof makes a fresh cookie, so none that somebody planted counts.
"""

from __future__ import annotations

import hashlib
import secrets

import msgspec

from midflight.domain.approver import Approver
from midflight.domain.identity import Author
from midflight.domain.value import Discreet
from midflight.services.ports.approver_store import ApproverStore
from midflight.services.ports.clock import Clock

IDLE_S = 900.0
LONGEST_S = 28_800.0
FRESH_S = 300.0
"""How old the last proof may be for an answer."""
MAX_SESSIONS = 10_000
MAX_EACH = 20


class SignedIn(Discreet):
    """A person, for one browser.

    Attributes:
        name, proof: who, and what was shown last.
        groups: approvers that he may answer for besides his own name.
        account: whether it is an account here, whose state is looked at each time.
        epoch: of the account, when he signed in.
        fresh_at: when he proved it last (monotonic).
        until: when it ends in any case (monotonic).
        csrf: what forms of this browser carry.
        id: names the session where the cookie must not stand.
    """

    shown = ("name", "proof")

    name: str
    proof: str
    groups: tuple[str, ...]
    account: bool
    epoch: int
    fresh_at: float
    until: float
    csrf: str
    id: str

    @property
    def author(self) -> Author:
        """As what he answers."""
        return Author(name=self.name, proof=self.proof)


class ApproverSessions:
    """See the module."""

    def __init__(self, *, store: ApproverStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._sessions: dict[str, tuple[SignedIn, float]] = {}

    def begin(
        self,
        approver: Approver,
        proof: str,
        *,
        more: tuple[str, ...] = (),
        age_s: float = 0.0,
    ) -> str:
        """The cookie of a session for somebody with an account, who proved it `age_s` ago.

        `more` are groups besides those of the account.
        """
        return self._put(
            name=approver.name,
            proof=proof,
            groups=tuple(dict.fromkeys((*approver.groups, *more))),
            account=True,
            epoch=approver.epoch,
            fresh_at=self._clock.monotonic() - max(0.0, age_s),
        )

    def begin_outside(self, name: str, proof: str, *, groups: tuple[str, ...], age_s: float) -> str:
        """The cookie of a session for somebody that a provider knows, who proved it `age_s` ago."""
        fresh_at = self._clock.monotonic() - max(0.0, age_s)
        return self._put(
            name=name, proof=proof, groups=groups, account=False, epoch=0, fresh_at=fresh_at
        )

    async def of(self, cookie: str | None) -> SignedIn | None:
        """Who is signed in. What the account says now is what counts."""
        key = "" if cookie is None else _digest(cookie)
        found = self._sessions.get(key)
        now = self._clock.monotonic()
        if found is None or min(found[1], found[0].until) <= now:
            self._sessions.pop(key, None)
            return None
        session = found[0]
        if session.account:
            known = await self._store.get_approver(session.name)
            if known is None or known.disabled or known.epoch != session.epoch:
                self._sessions.pop(key, None)
                return None
        # Whoever signed out meanwhile stays so.
        if key in self._sessions:
            self._sessions[key] = (session, now + IDLE_S)
            return session
        return None

    def is_fresh(self, session: SignedIn) -> bool:
        """Whether the last proof is young enough for an answer."""
        return self._clock.monotonic() - session.fresh_at <= FRESH_S

    def renew(self, cookie: str, session: SignedIn, proof: str) -> tuple[str, SignedIn]:
        """A fresh cookie for who has proved it again; the old one is over."""
        self.end(cookie)
        after = msgspec.structs.replace(
            session,
            proof=proof,
            fresh_at=self._clock.monotonic(),
            csrf=secrets.token_urlsafe(32),
        )
        return self._keep(after), after

    def end(self, cookie: str) -> None:
        """Nobody is signed in by that cookie any more."""
        self._sessions.pop(_digest(cookie), None)

    # Inside

    def _put(
        self,
        *,
        name: str,
        proof: str,
        groups: tuple[str, ...],
        account: bool,
        epoch: int,
        fresh_at: float,
    ) -> str:
        return self._keep(
            SignedIn(
                name=name,
                proof=proof,
                groups=groups,
                account=account,
                epoch=epoch,
                fresh_at=fresh_at,
                until=self._clock.monotonic() + LONGEST_S,
                csrf=secrets.token_urlsafe(32),
                id=secrets.token_urlsafe(16),
            )
        )

    def _keep(self, session: SignedIn) -> str:
        own = [key for key, (each, _) in self._sessions.items() if each.name == session.name]
        for key in own[: max(0, len(own) - MAX_EACH + 1)]:
            del self._sessions[key]
        while len(self._sessions) >= MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        cookie = secrets.token_urlsafe(32)
        self._sessions[_digest(cookie)] = (session, self._clock.monotonic() + IDLE_S)
        return cookie


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


__all__ = ["FRESH_S", "IDLE_S", "LONGEST_S", "ApproverSessions", "SignedIn"]
