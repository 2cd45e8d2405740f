"""Accounts of approvers: made, changed, and given leave to enrol, by operators.

What an account is good for is its factors (`approver_factors.py`), which only its person can give
it: an operator hands over a code that is good for minutes and once. Above: the control API, and the
page where the code is typed.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence

from midflight.domain.approver import (
    MAX_GROUPS,
    Approver,
    ApproverStatus,
    Enrolment,
    approver_name,
)
from midflight.domain.errors import Malformed, Unauthenticated
from midflight.domain.identity import Author
from midflight.domain.value import Discreet, JSONObject
from midflight.services.changes import record_change
from midflight.services.ends import Ends
from midflight.services.ports.approver_store import ApproverStore
from midflight.services.ports.clock import Clock
from midflight.services.ports.recorder import Recorder

ENROL_S = 600

# Without what people mistake for each other. 25 of 31: 123 bits, so guesses need no count.
_ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
_LENGTH = 25


class Invitation(Discreet):
    """A code to enrol with. Handed out once, and kept nowhere but as its digest."""

    shown = ("approver", "expires_at")

    approver: str
    code: str
    expires_at: int


class ApproverAccounts:
    """See the module."""

    def __init__(self, *, store: ApproverStore, recorder: Recorder, clock: Clock) -> None:
        self._store = store
        self._recorder = recorder
        self._clock = clock
        self._ends = Ends(clock=clock)

    async def add(self, name: str, author: Author, *, groups: Sequence[str] = ()) -> ApproverStatus:
        """Make an account. Nobody can sign in to it before it is enrolled.

        Raises:
            Malformed: a name or a group that could be mistaken for something else.
            Conflict: there is one of that name.
        """
        made = Approver(
            name=approver_name(name),
            groups=_groups(groups),
            by=author.name,
            at=int(self._clock.now()),
        )
        await self._store.add_approver(made)
        await self._changed(f"approver.add {name}", author, {"groups": list(made.groups)})
        return await self._status(made)

    async def list(self) -> Sequence[ApproverStatus]:
        """All accounts, by name."""
        return [await self._status(each) for each in await self._store.list_approvers()]

    async def change(
        self,
        name: str,
        author: Author,
        *,
        groups: Sequence[str] | None = None,
        disabled: bool | None = None,
    ) -> ApproverStatus:
        """Change its groups, or let nobody sign in; who is signed in is not any more.

        Raises:
            Malformed: as `add`.
            NotFound: there is no such account.
        """
        known = None if groups is None else _groups(groups)
        made = await self._store.change_approver(name, groups=known, disabled=disabled)
        details: JSONObject = {"groups": list(made.groups), "disabled": made.disabled}
        await self._changed(f"approver.change {name}", author, details)
        return await self._status(made)

    async def reset(self, name: str, author: Author) -> ApproverStatus:
        """Forget every factor of it. `NotFound` if there is no such account."""
        made = await self._store.reset_approver(name)
        await self._changed(f"approver.reset {name}", author, {})
        return await self._status(made)

    async def enroll(self, name: str, author: Author) -> Invitation:
        """Leave to enrol a factor, for ten minutes and once; an older one is void.

        On record before it is handed out. `NotFound` if there is no such account.
        """
        code = "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))
        expires_at = int(self._clock.now()) + ENROL_S
        digest = _digest(code)
        self._ends.prune()
        self._ends.now(digest, ends_at=expires_at)
        await self._store.put_enrolment(
            Enrolment(digest=digest, approver=name, expires_at=expires_at)
        )
        await self._changed(f"approver.enroll {name}", author, {"expires_at": expires_at})
        parts = [code[at : at + 5] for at in range(0, _LENGTH, 5)]
        return Invitation(approver=name, code="-".join(parts), expires_at=expires_at)

    async def redeem(self, code: str) -> Approver:
        """Whose account a code is for, once. `Unauthenticated` if it is none."""
        typed = "".join(one for one in code.upper()[:100] if one in _ALPHABET)
        digest = _digest(typed)
        name = await self._store.take_enrolment(digest, now=int(self._ends.known(digest)))
        found = None if name is None else await self._store.get_approver(name)
        if found is None or found.disabled:
            raise Unauthenticated(
                "This is no code to enrol with, or not any more.",
                hint="An operator makes another one: midflight approver enroll NAME.",
            )
        return found

    # Inside

    async def _status(self, approver: Approver) -> ApproverStatus:
        passkeys = await self._store.list_passkeys(approver.name)
        return ApproverStatus(
            name=approver.name,
            groups=approver.groups,
            disabled=approver.disabled,
            passkeys=len(passkeys),
            totp=approver.totp is not None,
            by=approver.by,
            at=approver.at,
        )

    async def _changed(self, what: str, author: Author, details: JSONObject) -> None:
        await record_change(
            self._recorder, at=self._clock.now(), what=what, author=author, details=details
        )


def _groups(names: Sequence[str]) -> tuple[str, ...]:
    if len(names) > MAX_GROUPS:
        raise Malformed(f"An approver is in at most {MAX_GROUPS} groups.")
    return tuple(sorted({approver_name(name) for name in names}))


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode("ascii")).hexdigest()


__all__ = ["ENROL_S", "ApproverAccounts", "Invitation"]
