"""What is kept of approvers: accounts, their passkeys, enrolments, and questions at a provider."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from midflight.domain.approver import Approver, BackchannelRequest, Enrolment, Passkey


class ApproverStore(Protocol):
    """Errors: `StoreUnavailable` when the store does not answer; others where said.

    Whatever counts once (a code, a counter, an enrolment) is looked at and spent in one step.
    """

    async def add_approver(self, approver: Approver) -> None:
        """Store an account. `Conflict` if its name exists."""
        ...

    async def get_approver(self, name: str) -> Approver | None:
        """An account by name."""
        ...

    async def list_approvers(self) -> Sequence[Approver]:
        """All accounts, by name."""
        ...

    async def change_approver(
        self, name: str, *, groups: tuple[str, ...] | None = None, disabled: bool | None = None
    ) -> Approver:
        """Change what is given and count `epoch` up. `NotFound` if there is none."""
        ...

    async def reset_approver(self, name: str) -> Approver:
        """Forget all its factors and enrolments, and count `epoch` up. `NotFound` as above."""
        ...

    async def set_totp(self, name: str, sealed: str, *, step: int) -> None:
        """Keep the secret of its codes, in place of another; codes up to `step` are spent.

        `NotFound` if there is no such account.
        """
        ...

    async def use_totp(self, name: str, sealed: str, *, step: int) -> bool:
        """Spend the code of a time step: True once, and never for a step before one that was spent.

        Only while the account is not disabled and `sealed` is its secret still.
        """
        ...

    async def add_passkey(self, passkey: Passkey, *, limit: int) -> None:
        """Store a passkey of an account.

        `NotFound` if there is no such account; `Conflict` if the id exists, or it has `limit`.
        """
        ...

    async def get_passkey(self, passkey_id: str) -> Passkey | None:
        """A passkey by id."""
        ...

    async def list_passkeys(self, approver: str) -> Sequence[Passkey]:
        """The passkeys of an account, oldest first."""
        ...

    async def count_passkey(self, passkey_id: str, *, before: int, after: int) -> bool:
        """Move its counter from `before` to `after`. False if it does not stand there any more."""
        ...

    async def put_enrolment(self, enrolment: Enrolment) -> None:
        """Store an enrolment, in place of any other of that account. `NotFound` as above."""
        ...

    async def take_enrolment(self, digest: str, *, now: int) -> str | None:
        """Whose enrolment it is, once and before its end; it is forgotten."""
        ...

    async def put_backchannel(self, request: BackchannelRequest) -> None:
        """Store a question at a provider, or replace it by id."""
        ...

    async def list_backchannel(self) -> Sequence[BackchannelRequest]:
        """All of them, oldest first."""
        ...

    async def delete_backchannel(self, request_id: str) -> bool:
        """Forget one: True once. Whoever gets that may act on its answer."""
        ...


__all__ = ["ApproverStore"]
