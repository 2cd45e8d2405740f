"""The authority: signs with one intermediate and rolls over to the next, whoever signed that.

    upcoming   its roots are in the bundle; it does not sign yet
    signing    signs leaves
    retired    its roots alone, in the bundle until the last leaf under them has ended

An intermediate is replaced from half of its life on; the next one signs once its roots have been
in the bundle for `overlap_s`, so that whoever caches bundles knows them in time. All of it is in
one private file that is replaced as a whole. Where intermediates come from is a `Source`: our own
root, files of an operator, OpenBao.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import msgspec
import structlog

from midflight.adapters.authority.certificates import LeafSigner
from midflight.adapters.keys.private_files import PrivateDirectory
from midflight.domain.errors import MidflightError, Misconfigured, Unavailable
from midflight.domain.spiffe import MAX_X509_TTL_S, X509Svid
from midflight.domain.value import Discreet, Value
from midflight.services.ports.clock import Clock

AUTHORITY_FILE = "x509-authority.json"
OVERLAP_S = 900
"""Three times the refresh hint of a bundle, as long as a peer may miss two of its looks."""

_FORMAT = "midflight-x509-authority-v1"
_AGAIN_S = 60

log = structlog.get_logger(__name__)


class Generation(Discreet):
    """One intermediate. `chain` is DER, the intermediate first, without roots; `key` PKCS#8 DER."""

    shown = ("begins", "ends")

    roots: tuple[bytes, ...]
    chain: tuple[bytes, ...]
    key: bytes
    begins: int
    ends: int


class RetiredRoots(Value):
    """Roots that still verify leaves, and until when (Unix seconds)."""

    roots: tuple[bytes, ...]
    until: int


class AuthorityState(Discreet):
    """All of one authority. `announced_at`: since when the upcoming one's roots are published."""

    signing: Generation
    upcoming: Generation | None = None
    announced_at: int = 0
    retired: tuple[RetiredRoots, ...] = ()


class Source(Protocol):
    """Where intermediates come from."""

    async def obtain(self, *, now: float, root: bool) -> Generation:
        """A new one; under a new root if asked for. `Unavailable`, `Misconfigured`, `Conflict`."""
        ...

    def differs(self, signing: Generation) -> bool:
        """Whether an operator has put another one in place."""
        ...


class _StateFile(Value, forbid_unknown_fields=True):
    format: str
    state: AuthorityState


class RollingAuthority:
    """`Authority` over a source of intermediates. `start` it first."""

    def __init__(
        self, directory: Path, source: Source, *, clock: Clock, overlap_s: int = OVERLAP_S
    ) -> None:
        """`directory` is private (0700) and made at `start`."""
        self._directory = directory
        self._source = source
        self._clock = clock
        self._overlap_s = overlap_s
        self._state: AuthorityState | None = None
        self._signer: LeafSigner | None = None
        self._tried_at = 0.0
        self._turn = asyncio.Lock()
        # One thread: making keys beside the loop, and not in crowds that fight over the GIL.
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="svid")

    @property
    def roots(self) -> tuple[bytes, ...]:
        """DER certificates for the bundle, the signing one's first."""
        state, now = self._state, self._clock.now()
        if state is None:
            return ()
        found = list(state.signing.roots)
        if state.upcoming is not None:
            found.extend(state.upcoming.roots)
        for retired in state.retired:
            if retired.until > now:
                found.extend(retired.roots)
        return tuple(dict.fromkeys(found))

    @property
    def ends_at(self) -> int:
        """Unix seconds when the signing intermediate ends; 0 while there is none."""
        return 0 if self._signer is None else self._signer.ends_at

    async def start(self) -> None:
        """Read what there is, or obtain the first intermediate."""
        async with self._turn:
            state = await asyncio.to_thread(self._read)
            now = self._clock.now()
            if state is None or state.signing.ends <= now:
                first = await self._source.obtain(now=now, root=False)
                state = AuthorityState(signing=first, retired=_retired(state, first, now))
                await asyncio.to_thread(self._write, state)
            self._use(state)

    async def issue(self, spiffe_id: str, *, ttl_s: int, run: str | None = None) -> X509Svid:
        """A fresh key and its certificate. `Unavailable` once the intermediate has ended."""
        signer, now = self._signer, self._clock.now()
        if signer is None or signer.ends_at <= now:
            raise Unavailable(
                "The certificate authority has no intermediate that is in force.",
                hint="Bring the root key back, or look at the upstream authority.",
            )
        ttl_s = min(ttl_s, MAX_X509_TTL_S)
        return await asyncio.get_running_loop().run_in_executor(
            self._pool, lambda: signer.issue(spiffe_id, now=now, ttl_s=ttl_s, run=run)
        )

    async def refresh(self) -> bool:
        """Prepare, switch and retire what is due; whether anything changed."""
        async with self._turn:
            before = self._state
            if before is None:
                return False
            now = self._clock.now()
            state = await self._prepared(before, now)
            if state.upcoming is not None and now >= state.announced_at + self._overlap_s:
                state = AuthorityState(
                    signing=state.upcoming, retired=_retired(state, state.upcoming, now)
                )
            kept = tuple(old for old in state.retired if old.until > now)
            if len(kept) != len(state.retired):
                state = msgspec.structs.replace(state, retired=kept)
            if state is before:
                return False
            await asyncio.to_thread(self._write, state)
            self._use(state)
            return True

    async def rotate(self, *, root: bool = False) -> None:
        """Prepare the next intermediate now; it signs after the overlap."""
        async with self._turn:
            if self._state is None:
                raise Unavailable("The certificate authority has not started.")
            await self._announce(self._state, root=root)

    def close(self) -> None:
        """Stop the thread."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def __repr__(self) -> str:
        return f"RollingAuthority(ends_at={self.ends_at})"

    # Inside

    async def _prepared(self, state: AuthorityState, now: float) -> AuthorityState:
        signing = state.signing
        due = now >= (signing.begins + signing.ends) / 2
        if state.upcoming is not None or not (due or self._source.differs(signing)):
            return state
        if now < self._tried_at + _AGAIN_S:
            return state
        self._tried_at = now
        try:
            return await self._announce(state, root=False)
        except MidflightError as error:
            log.warning("intermediate_not_renewed", why=str(error), ends_at=signing.ends)
            return state

    async def _announce(self, state: AuthorityState, *, root: bool) -> AuthorityState:
        now = self._clock.now()
        made = await self._source.obtain(now=now, root=root)
        state = msgspec.structs.replace(state, upcoming=made, announced_at=int(now))
        await asyncio.to_thread(self._write, state)
        self._use(state)
        return state

    def _use(self, state: AuthorityState) -> None:
        try:
            self._signer = LeafSigner(state.signing.chain, state.signing.key)
        except ValueError as error:
            raise Misconfigured(f"The certificate authority is not usable: {error}.") from None
        self._state = state

    def _read(self) -> AuthorityState | None:
        with PrivateDirectory(self._directory) as files, files.locked():
            content = files.read(AUTHORITY_FILE)
        if content is None:
            return None
        stored: _StateFile | None = None
        try:
            stored = msgspec.json.decode(content, type=_StateFile)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            stored = None
        if stored is None or stored.format != _FORMAT:
            raise Misconfigured(
                f"The file {AUTHORITY_FILE} is damaged or of another version.",
                hint="Restore it from a backup; without one, remove it and a new one is made.",
            )
        return stored.state

    def _write(self, state: AuthorityState) -> None:
        content = msgspec.json.encode(_StateFile(format=_FORMAT, state=state))
        with PrivateDirectory(self._directory) as files, files.locked():
            files.write(AUTHORITY_FILE, content)


def _retired(
    state: AuthorityState | None, next_: Generation, now: float
) -> tuple[RetiredRoots, ...]:
    """What must still verify once the next one signs: roots of leaves that have not ended."""
    if state is None:
        return ()
    old = tuple(root for root in state.signing.roots if root not in next_.roots)
    if not old:
        return state.retired
    return (RetiredRoots(roots=old, until=int(now) + MAX_X509_TTL_S + 60), *state.retired)


__all__ = [
    "AUTHORITY_FILE",
    "OVERLAP_S",
    "AuthorityState",
    "Generation",
    "RetiredRoots",
    "RollingAuthority",
    "Source",
]
