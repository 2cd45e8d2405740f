"""Midflight's own word to an upstream, which no revocation of a run covers and no client hears."""

from __future__ import annotations

from midflight.domain.errors import Conflict
from midflight.domain.value import JSONObject
from midflight.services.ports.upstream import ClientRequest, OnCut


class OwnFlight:
    """A `Flight` that nobody cuts; what it carries is nothing of a workload's."""

    __slots__ = ()

    def look(self) -> None:
        """Let pass."""

    def on_cut(self, cut: OnCut) -> None:
        """Nobody cuts it."""
        del cut

    def left(self, nbytes: int) -> None:
        """Count nothing."""
        del nbytes

    def came(self, nbytes: int) -> None:
        """Count nothing."""
        del nbytes


class NoClient:
    """A `Sink` that hears nothing and answers nothing."""

    __slots__ = ("capabilities",)

    takes_input_required = True
    """A question ends the request."""

    def __init__(self, capabilities: JSONObject | None = None) -> None:
        """`capabilities` are those that a session of the legacy generation was opened with."""
        self.capabilities = capabilities or {}

    async def notify(self, method: str, params: JSONObject) -> None:
        """Drop it."""
        del method, params

    async def ask(self, request: ClientRequest) -> JSONObject:
        """Refuse."""
        raise Conflict(f"There is no client to be asked for {request.method}.")


__all__ = ["NoClient", "OwnFlight"]
