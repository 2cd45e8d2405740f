"""Operations on signing keys: listed, rotated, withdrawn."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from midflight.apps.control.operation import Empty, Input, Operation
from midflight.apps.control.operators import Operator
from midflight.apps.control.plane import Plane
from midflight.domain.errors import MidflightError
from midflight.services.key_rings import KeyView, Rotation, Withdrawal
from midflight.services.ports.keys import Purpose


class WantedRotation(Input):
    """Of which purpose, or of all; with `now` before verifiers can know the new key."""

    purpose: Purpose | None = None
    now: bool = False


class WithdrawnKey(Input):
    """The id of a key that others may know."""

    kid: str


class KeyVerbs:
    """See the module."""

    def __init__(self, plane: Plane) -> None:
        self._keys = plane.keys
        self._bundles = plane.spiffe.bundles

    async def list_keys(self, given: Empty, operator: Operator) -> Sequence[KeyView]:
        """By purpose, the one that signs first."""
        del given, operator
        return self._keys.list()

    async def rotate(self, given: WantedRotation, operator: Operator) -> Sequence[Rotation]:
        """Announce the next key; it signs once verifiers know it, or now."""
        done = await self._keys.rotate(given.purpose, author=operator.author, at_once=given.now)
        await self._publish()
        return done

    async def withdraw(self, given: WithdrawnKey, operator: Operator) -> Withdrawal:
        """Drop a key at once; every token that it signed stops."""
        done = await self._keys.withdraw(given.kid, author=operator.author)
        await self._publish()
        return done

    async def _publish(self) -> None:
        """Put keys of SVIDs into our bundle now; where that fails, the next sweep does it."""
        with suppress(MidflightError):
            await self._bundles.refresh()

    def operations(self) -> Sequence[Operation[Any]]:
        """The rows of the table."""
        return (
            Operation(
                method="GET",
                path="/v1/keys",
                summary="The keys that sign, by purpose, with their states.",
                input=Empty,
                answer=list[KeyView],
                act=self.list_keys,
            ),
            Operation(
                method="POST",
                path="/v1/keys/rotate",
                summary="Announce the next key of a purpose or of all, or sign with it now.",
                input=WantedRotation,
                answer=list[Rotation],
                act=self.rotate,
            ),
            Operation(
                method="POST",
                path="/v1/keys/withdraw",
                summary="Drop a key that others may know; every token that it signed stops.",
                input=WithdrawnKey,
                answer=Withdrawal,
                act=self.withdraw,
            ),
        )


__all__ = ["KeyVerbs", "WantedRotation", "WithdrawnKey"]
