"""Approvers whom an OpenID provider knows: what they are called here, and what they answer for.

Two tables of the settings say it, and nothing that the provider makes up does: a person in `people`
is that approver, with the groups of the account of that name if there is one; anybody else is
called `ISSUER#NAME`, as no account and no owner can be, and answers for nothing but the groups that
the claim gives him by the table `groups`. As nobody has said who he is here, he may be somebody who
answers by another name, too: he counts beside others of his provider alone, and never where policy
wants nobody of the owner's (`domain/approval.py`).
"""

from __future__ import annotations

from collections.abc import Mapping

from midflight.domain.authorization import Person
from midflight.domain.errors import Forbidden
from midflight.services.approver_sessions import ApproverSessions
from midflight.services.ports.approver_store import ApproverStore
from midflight.services.ports.clock import Clock


class OutsideApprovers:
    """See the module."""

    def __init__(
        self,
        *,
        store: ApproverStore,
        sessions: ApproverSessions,
        clock: Clock,
        people: Mapping[str, str],
        groups: Mapping[str, str],
    ) -> None:
        """`people` maps a provider's name for a person to an approver, `groups` its groups."""
        self._store = store
        self._sessions = sessions
        self._clock = clock
        self._people = people
        self._groups = groups

    async def sign_in(self, person: Person) -> str:
        """The cookie of a session. `Forbidden` if he answers for nothing here."""
        claimed = {self._groups[name] for name in person.groups if name in self._groups}
        # Without a time of login a person counts as one who has not proved it for long.
        age = self._clock.now() - (0 if person.at is None else person.at)
        name = self._people.get(person.name)
        if name is not None:
            account = await self._store.get_approver(name)
            if account is not None:
                if account.disabled:
                    raise Forbidden("This account is disabled.")
                return self._sessions.begin(
                    account, person.proof, more=tuple(sorted(claimed)), age_s=age
                )
        elif claimed:
            name = f"{person.proof.removeprefix('oidc:')}#{person.name}"
        else:
            raise Forbidden(
                "You answer for nothing here.",
                hint="An operator names you in [approvals.login] people, or one of your groups.",
            )
        return self._sessions.begin_outside(
            name, person.proof, groups=tuple(sorted(claimed)), age_s=age
        )


__all__ = ["OutsideApprovers"]
