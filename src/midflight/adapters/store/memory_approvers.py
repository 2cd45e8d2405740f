"""Approvers in memory: a part of `memory.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from midflight.adapters.store.memory_part import MemoryPart
from midflight.domain.approver import Approver, BackchannelRequest, Enrolment, Passkey
from midflight.domain.errors import Conflict, NotFound


class MemoryApprovers(MemoryPart):
    """See the module, and `services/ports/approver_store.py` for what the methods promise."""

    def __init__(self) -> None:
        super().__init__()
        self._approvers: dict[str, Approver] = {}
        self._passkeys: dict[str, Passkey] = {}
        self._enrolments: dict[str, Enrolment] = {}
        self._backchannel: dict[str, BackchannelRequest] = {}

    async def add_approver(self, approver: Approver) -> None:
        """Store an account. `Conflict` if its name exists."""
        self._check_open()
        if approver.name in self._approvers:
            raise Conflict(
                f"Approver {approver.name} exists.", hint="midflight approver list shows them."
            )
        self._approvers[approver.name] = approver

    async def get_approver(self, name: str) -> Approver | None:
        """An account by name."""
        self._check_open()
        return self._approvers.get(name)

    async def list_approvers(self) -> Sequence[Approver]:
        """All accounts, by name."""
        self._check_open()
        return [self._approvers[name] for name in sorted(self._approvers)]

    async def change_approver(
        self, name: str, *, groups: tuple[str, ...] | None = None, disabled: bool | None = None
    ) -> Approver:
        """Change what is given and count `epoch` up. `NotFound` if there is none."""
        known = self._known(name)
        return self._change(
            known,
            groups=known.groups if groups is None else groups,
            disabled=known.disabled if disabled is None else disabled,
            epoch=known.epoch + 1,
        )

    async def reset_approver(self, name: str) -> Approver:
        """Forget all its factors and enrolments, and count `epoch` up. `NotFound` as above."""
        known = self._known(name)
        self._passkeys = {
            key: passkey for key, passkey in self._passkeys.items() if passkey.approver != name
        }
        self._forget_enrolments(name)
        return self._change(known, totp=None, totp_step=-1, epoch=known.epoch + 1)

    async def set_totp(self, name: str, sealed: str, *, step: int) -> None:
        """Keep the secret of its codes, in place of another; codes up to `step` are spent."""
        self._change(self._known(name), totp=sealed, totp_step=step)

    async def use_totp(self, name: str, sealed: str, *, step: int) -> bool:
        """Spend the code of a time step: True once, and for no step before one that was spent."""
        self._check_open()
        known = self._approvers.get(name)
        if known is None or known.disabled or known.totp != sealed or known.totp_step >= step:
            return False
        self._change(known, totp_step=step)
        return True

    async def add_passkey(self, passkey: Passkey, *, limit: int) -> None:
        """Store a passkey of an account."""
        self._known(passkey.approver)
        own = [each for each in self._passkeys.values() if each.approver == passkey.approver]
        if passkey.id in self._passkeys:
            raise Conflict("This passkey is enrolled already.")
        if len(own) >= limit:
            raise Conflict(f"{passkey.approver} has {limit} passkeys already.")
        self._passkeys[passkey.id] = passkey

    async def get_passkey(self, passkey_id: str) -> Passkey | None:
        """A passkey by id."""
        self._check_open()
        return self._passkeys.get(passkey_id)

    async def list_passkeys(self, approver: str) -> Sequence[Passkey]:
        """The passkeys of an account, oldest first."""
        self._check_open()
        own = [each for each in self._passkeys.values() if each.approver == approver]
        return sorted(own, key=lambda passkey: (passkey.added_at, passkey.id))

    async def count_passkey(self, passkey_id: str, *, before: int, after: int) -> bool:
        """Move its counter from `before` to `after`. False if it does not stand there any more."""
        self._check_open()
        known = self._passkeys.get(passkey_id)
        if known is None or known.count != before:
            return False
        self._passkeys[passkey_id] = msgspec.structs.replace(known, count=after)
        return True

    async def put_enrolment(self, enrolment: Enrolment) -> None:
        """Store an enrolment, in place of any other of that account."""
        self._known(enrolment.approver)
        self._forget_enrolments(enrolment.approver)
        self._enrolments[enrolment.digest] = enrolment

    async def take_enrolment(self, digest: str, *, now: int) -> str | None:
        """Whose enrolment it is, once and before its end; it is forgotten."""
        self._check_open()
        found = self._enrolments.pop(digest, None)
        return None if found is None or found.expires_at <= now else found.approver

    async def put_backchannel(self, request: BackchannelRequest) -> None:
        """Store a question at a provider, or replace it by id."""
        self._check_open()
        self._backchannel[request.id] = request

    async def list_backchannel(self) -> Sequence[BackchannelRequest]:
        """All of them, oldest first."""
        self._check_open()
        return sorted(self._backchannel.values(), key=lambda each: (each.asked_at, each.id))

    async def delete_backchannel(self, request_id: str) -> bool:
        """Forget one: True once."""
        self._check_open()
        return self._backchannel.pop(request_id, None) is not None

    # Inside

    def _known(self, name: str) -> Approver:
        self._check_open()
        known = self._approvers.get(name)
        if known is None:
            raise NotFound(
                f"There is no approver {name}.", hint="midflight approver list shows them."
            )
        return known

    def _change(self, known: Approver, **changes: Any) -> Approver:
        after = msgspec.structs.replace(known, **changes)
        self._approvers[known.name] = after
        return after

    def _forget_enrolments(self, name: str) -> None:
        self._enrolments = {
            key: each for key, each in self._enrolments.items() if each.approver != name
        }


__all__ = ["MemoryApprovers"]
