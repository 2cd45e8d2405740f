"""Where a backend gets what it needs to log in: by reference, when it needs it, kept nowhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from midflight.domain.lease import Credential
from midflight.domain.value import Discreet
from midflight.services.ports.clock import Clock
from midflight.services.ports.credential_backend import CredentialBackend


class SecretReader(Protocol):
    """Reads `env:NAME`, `file:PATH` and `sealed:ID`."""

    async def read(self, reference: str) -> str:
        """The secret, without a line end behind it.

        Raises:
            Misconfigured: no reference, or nothing is there; the message holds no secret.
            StoreUnavailable: a sealed one cannot be looked up.
        """
        ...


class Setup(Discreet):
    """What a backend is made of.

    Attributes:
        credential: as configured.
        secrets: reads what its settings refer to.
        installation: which Midflight this is, fixed for the life of its store. A backend that
            can, tags what it makes with it, so that another Midflight's is never swept.
        clock: time.
    """

    shown = ("credential", "installation")

    credential: Credential
    secrets: SecretReader
    installation: str
    clock: Clock


BackendMaker: TypeAlias = Callable[[Setup], CredentialBackend]
"""Makes a backend of one kind without any I/O. `Misconfigured` names every wrong setting."""

__all__ = ["BackendMaker", "SecretReader", "Setup"]
