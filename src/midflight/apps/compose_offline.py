"""Wiring of what works without a running plane: checking policies, reading a ledger file.

The small half of `compose.py`, apart so that `midflight check` and `midflight ledger verify` load
neither gateway nor store.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from midflight.domain.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Callable

    from midflight.domain.revocation import Revocation
    from midflight.services.ports.ledger_store import LedgerReader
    from midflight.services.ports.policy_sets import PolicyCompiler

_SQLITE_MAGIC = b"SQLite format 3\0"
_KEY_BESIDE = Path("keys") / "checkpoint.key"
_MAX_KEY_BYTES = 4_096


def stop_everything(state: Path, *, reason: str, author: str) -> Revocation:
    """Append a revocation of everything to the store of a plane that does not answer.

    Args:
        state: the plane's state directory; whoever may write there may do this.
        reason: why.
        author: who says so, by the operating system.

    Raises:
        Misconfigured: there is no store.
        StoreUnavailable: it cannot be written.
    """
    import asyncio  # noqa: PLC0415 -- see the module

    from midflight.adapters.clock import SystemClock  # noqa: PLC0415 -- as above
    from midflight.adapters.store.sqlite import SqliteStore  # noqa: PLC0415 -- as above
    from midflight.domain.revocation import Revocation, Scope, ScopeKind  # noqa: PLC0415 -- as above

    path = state / "midflight.sqlite3"
    if not path.is_file():
        raise Misconfigured(
            f"There is no store of a plane in {state}.", hint="Nothing of it has ever run here."
        )
    clock = SystemClock()
    revocation = Revocation(
        id=f"rev_{clock.token()}",
        scope=Scope(kind=ScopeKind.EVERYTHING),
        reason=reason,
        author=author,
        proof="state-directory",
        at=clock.now(),
    )

    async def append() -> None:
        store = SqliteStore(path)
        await store.open()
        try:
            await store.append_revocation(revocation)
        finally:
            await store.close()

    asyncio.run(append())
    return revocation


def policy_compiler() -> PolicyCompiler:
    """What reads and checks Cedar sets."""
    from midflight.adapters.policy.compiler import CedarCompiler  # noqa: PLC0415 -- see the module

    return CedarCompiler()


@contextmanager
def opened_ledger(path: Path) -> Generator[LedgerReader, None, None]:
    """A ledger database or an exported ledger, told apart by content, while the context lasts.

    Raises:
        Misconfigured: there is no such file.
        LedgerUnavailable: it is not a readable ledger.
    """
    from midflight.adapters.store.ledger_file import LedgerFile  # noqa: PLC0415 -- as above
    from midflight.adapters.store.ledger_sqlite_reader import (  # noqa: PLC0415 -- as above
        SqliteLedgerReader,
    )

    try:
        with path.open("rb") as file:
            magic = file.read(len(_SQLITE_MAGIC))
    except OSError as error:
        raise Misconfigured(
            f"{path} cannot be read: {error.strerror}.",
            hint="The ledger is ledger.sqlite3 in the state directory.",
        ) from None
    reader = SqliteLedgerReader(path) if magic == _SQLITE_MAGIC else LedgerFile(path)
    reader.open()
    try:
        yield reader
    finally:
        reader.close()


def export_ledger(
    reader: LedgerReader, target: Path, *, progress: Callable[[int], None] | None = None
) -> int:
    """Write an open ledger as JSON lines to a new file; how many entries."""
    from midflight.adapters.store.ledger_file import export  # noqa: PLC0415 -- as above

    return export(reader, target, progress=progress)


def verifier_key_beside(ledger: Path) -> str | None:
    """The public key made from the signing key that stands beside a live ledger, or None.

    It proves less than a key from elsewhere: who can write the ledger can often write this, too.
    """
    from midflight.adapters.keys.ed25519 import Ed25519NoteSigner  # noqa: PLC0415 -- as above

    try:
        with (ledger.absolute().parent / _KEY_BESIDE).open(encoding="ascii") as file:
            return Ed25519NoteSigner.from_text(file.read(_MAX_KEY_BYTES).strip()).verifier_key()
    except (OSError, UnicodeDecodeError, Misconfigured):
        return None


__all__ = ["export_ledger", "opened_ledger", "policy_compiler", "verifier_key_beside"]
