"""What a process is entitled to: its SVIDs and the bundles it trusts, now and whenever they change.

For the Workload API, where the process asks for itself, and the Broker API, where another asks for
it; each says by an `Ask` who it is, and turns what comes back into its own messages. Streams give
everything at once and again, in full, whenever entries, SVIDs or bundles changed, and end when
nothing is left that the process may be.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import NamedTuple, Protocol, TypeVar

import grpc

from midflight.apps.workload_api.changes import Changes
from midflight.apps.workload_api.refused import Refused, not_entitled
from midflight.domain.attestation import Attested, Entry, Process
from midflight.domain.errors import Forbidden, Interrupted, Malformed, Unauthenticated
from midflight.domain.identity import spiffe_id
from midflight.domain.spiffe import JwtSvid, TrustBundle, WitSvid, X509Svid
from midflight.services.mint_rates import TooOften
from midflight.services.ports.bundles import Bundles
from midflight.services.ports.spiffe import SvidClaims
from midflight.services.svids import Svids

Svid = TypeVar("Svid", X509Svid, WitSvid)
Given = TypeVar("Given", X509Svid, WitSvid, JwtSvid)


class Attestation(Protocol):
    """Who local processes are, and which entries they match."""

    async def attest(self, process: Process, *, by: str | None = None) -> Attested:
        """What is known of a process. `Unavailable`, `Unauthenticated` if it cannot be known.

        Whoever asks in its stead is `by`, and waits in a turn of its own.
        """
        ...

    def entries(self, attested: Attested) -> Sequence[Entry]:
        """The registration entries that match, in a steady order. No I/O."""
        ...

    def on_changed(self, listener: Callable[[], None]) -> None:
        """Call `listener` when entries may have changed."""
        ...


class Asked(NamedTuple):
    """For whom something is asked: what is attested, and how it was established, for records.

    `by` is whoever asks in its stead, None where it asks for itself, and `token` what he is known
    by; `only` bounds the SPIFFE IDs that may be had in this way, None for no bound; `still` is
    called before anything is given, and is `Refused` once that is over for good. It does no I/O.
    """

    attested: Attested
    proof: str
    by: str | None = None
    token: str = ""
    only: frozenset[str] | None = None
    still: Callable[[], None] = lambda: None


Ask = Callable[[], Awaitable[Asked]]
"""Establishes it anew, as of now. `Refused` if it cannot be."""


class Entitled:
    """See the module."""

    def __init__(
        self,
        *,
        trust_domain: str,
        attestation: Attestation,
        svids: Svids,
        bundles: Bundles,
        changes: Changes,
    ) -> None:
        """Says what is asked; nothing is started."""
        self._domain = trust_domain
        self._attestation = attestation
        self._svids = svids
        self._bundles = bundles
        self._changes = changes

    async def x509(
        self, ask: Ask
    ) -> AsyncGenerator[tuple[Sequence[X509Svid], Sequence[TrustBundle]]]:
        """X509-SVIDs, and the bundles that go with them: our own first. See `_stream`."""
        async with aclosing(self._stream(ask, self._svids.x509, "x509-svid")) as answers:
            async for held, trusted in answers:
                yield held, trusted

    async def wit(self, ask: Ask, *, wanted: str = "") -> AsyncGenerator[Sequence[WitSvid]]:
        """WIT-SVIDs: all, or the one of the SPIFFE ID that is wanted. See `_stream`."""
        shown: object = None
        making = self._stream(ask, self._svids.wit, "wit-svid", _checked(wanted))
        async with aclosing(making) as answers:
            async for held, _ in answers:
                # A bundle that changed is told by a stream of its own.
                if held != shown:
                    yield held
                    shown = held

    async def jwt(
        self, ask: Ask, audience: Sequence[str], *, wanted: str = ""
    ) -> Sequence[JwtSvid]:
        """JWT-SVIDs for an audience: all, or the one of the SPIFFE ID that is wanted.

        Raises:
            Refused: no audience or an unusable one, no SPIFFE ID, or nothing to be had.
        """
        asked = await ask()
        if not audience:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "An audience is needed.")
        one = _checked(wanted)
        made: dict[Entry, JwtSvid] = {}
        try:
            for entry in self._standing(asked, one):
                made[entry] = await self._svids.jwt(entry, audience, proof=asked.proof, by=asked.by)
        except Malformed as error:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None
        return list(self._given(asked, made, one).values())

    async def bundles(self, ask: Ask) -> AsyncGenerator[Sequence[TrustBundle]]:
        """The bundles that it trusts, our own first."""
        asked, shown = await ask(), None
        with self._svids.stream("bundles", by=asked.by, token=asked.token) as stream:
            while True:
                ticket = self._changes.ticket()
                standing = self._standing(asked)
                stream.holds(standing)
                trusted = self._trusted(standing)
                if trusted != shown:
                    yield trusted
                    shown = trusted
                await self._changes.after(ticket)

    async def validated(self, ask: Ask, token: str, audience: str) -> SvidClaims:
        """What a JWT-SVID says, by the bundles that this caller is given, and no others."""
        trusted = {b.trust_domain for b in self._trusted(self._standing(await ask()))}
        if not audience or not token:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "An audience and an SVID are needed.")
        try:
            return self._svids.validate_jwt(token, audience, trusted=trusted.__contains__)
        except (Unauthenticated, Interrupted) as error:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None

    # Inside

    async def _stream(
        self,
        ask: Ask,
        mint: Callable[..., Awaitable[Svid]],
        name: str,
        wanted: str | None = None,
    ) -> AsyncGenerator[tuple[list[Svid], list[TrustBundle]]]:
        """SVIDs that have half of their life before them, and what is trusted beside them."""
        asked = await ask()
        held: dict[Entry, Svid] = {}
        shown: object = None
        with self._svids.stream(name, by=asked.by, token=asked.token) as stream:
            while True:
                ticket = self._changes.ticket()
                if held and self._mints(asked, held, wanted):
                    # The process behind the connection may have gone, and given it to another.
                    asked = await ask()
                held = await self._renewed(asked, held, mint, wanted)
                stream.holds(held)
                now = (list(held.values()), self._trusted(list(held)))
                if now != shown:
                    yield now
                    shown = now
                await self._changes.after(ticket)

    def _standing(self, asked: Asked, wanted: str | None = None) -> list[Entry]:
        """Entries whose workloads may have an identity now; at least one."""
        asked.still()
        found: list[Entry] = []
        for entry in self._attestation.entries(asked.attested):
            if wanted is not None and entry.spiffe_id != wanted:
                continue
            if asked.only is not None and entry.spiffe_id not in asked.only:
                continue
            try:
                self._svids.check(entry)
            except (Forbidden, Interrupted):
                continue
            found.append(entry)
        if not found:
            raise not_entitled()
        return found

    def _mints(self, asked: Asked, held: dict[Entry, Svid], wanted: str | None) -> bool:
        """Whether `_renewed` would mint something."""
        found = self._standing(asked, wanted)
        return any(entry not in held or self._svids.due(held[entry]) for entry in found)

    async def _renewed(
        self,
        asked: Asked,
        held: dict[Entry, Svid],
        mint: Callable[..., Awaitable[Svid]],
        wanted: str | None,
    ) -> dict[Entry, Svid]:
        renewed: dict[Entry, Svid] = {}
        for entry in self._standing(asked, wanted):
            svid = held.get(entry)
            if svid is None or self._svids.due(svid):
                try:
                    svid = await mint(entry, proof=asked.proof, by=asked.by)
                except (Forbidden, Interrupted):
                    continue
                except TooOften:
                    # Whoever else floods the entry ends no stream: what is held is good for as
                    # long again, and is renewed when the next change or sweep comes round.
                    if svid is None:
                        raise
            renewed[entry] = svid
        return self._given(asked, renewed, wanted)

    def _given(
        self, asked: Asked, made: dict[Entry, Given], wanted: str | None
    ) -> dict[Entry, Given]:
        """What of it may be given now: much may have ended while it was signed and recorded."""
        found = {entry: made[entry] for entry in self._standing(asked, wanted) if entry in made}
        if not found:
            raise not_entitled()
        return found

    def _trusted(self, entries: Iterable[Entry]) -> list[TrustBundle]:
        """Our bundle first, then those that the entries federate with and that are in force."""
        own = self._bundles.bundle(self._domain)
        if own is None:
            raise not_entitled()
        names = sorted({name for entry in entries for name in entry.federates_with})
        others = [self._bundles.bundle(name) for name in names if name != self._domain]
        return [own, *(bundle for bundle in others if bundle is not None)]


def hints(svids: Iterable[X509Svid | JwtSvid | WitSvid]) -> list[str]:
    """The hint of each, said once: in one answer no two may have the same (Workload API §5.2.1)."""
    told: set[str] = set()
    found: list[str] = []
    for svid in svids:
        found.append("" if svid.hint in told else svid.hint)
        told.add(svid.hint)
    return found


def _checked(text: str) -> str | None:
    if not text:
        return None
    try:
        return spiffe_id(text)
    except ValueError:
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "This is not a SPIFFE ID.") from None


__all__ = ["Ask", "Asked", "Attestation", "Entitled", "hints"]
