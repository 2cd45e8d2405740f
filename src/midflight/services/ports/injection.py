"""What goes upstream with an action besides the action: credentials, placed by the adapter.

Made by the broker after the decision, held for one call, recorded nowhere. An adapter places what
it can place and refuses what it cannot; nothing of it is ever shown to the caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from midflight.domain.value import Discreet


class RequestSigner(Protocol):
    """Makes headers that depend on the request itself: a DPoP proof, a SigV4 signature."""

    def sign(
        self, method: str, url: str, headers: Sequence[tuple[str, str]], body: bytes
    ) -> Sequence[tuple[str, str]]:
        """Headers to add to this very request, made in the turn in which it is sent."""
        ...


class ClientCertificate(Discreet):
    """A client certificate and its key, PEM; `serial` tells one from the next."""

    shown = ("serial",)

    serial: str
    chain: bytes
    key: bytes


class Attachment(Discreet):
    """What is placed into one call.

    Attributes:
        leases: ids of the leases that are used, for the record.
        headers: header names and values; they replace a configured header of that name.
        query: query parameters that are added to the upstream's URL.
        signers: see `RequestSigner`, in order.
        certificate: for mutual TLS, or None.
        env: variables of the run's own child.
        arguments: placeholder (`{{lease:name}}`) to what takes its place, in arguments of the
            reviewed role `credential` only.
        secrets: every text that must not come back to the caller.
    """

    shown = ("leases",)

    leases: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    query: tuple[tuple[str, str], ...] = ()
    signers: tuple[RequestSigner, ...] = ()
    certificate: ClientCertificate | None = None
    env: tuple[tuple[str, str], ...] = ()
    arguments: dict[str, str] = {}
    secrets: frozenset[str] = frozenset()


NOTHING = Attachment()

__all__ = ["NOTHING", "Attachment", "ClientCertificate", "RequestSigner"]
