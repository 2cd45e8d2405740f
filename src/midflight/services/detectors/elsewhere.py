"""A credential that is used from elsewhere: one token, two places.

A token that moves from one place to another for good may be a laptop that changed its network. One
that is used in turns from both is in two hands. The same of a run under several tokens, which says
less: a run may have honest parts on two machines. A place is an IPv4 address, an IPv6 /64 or a
local user; networks that are one place (many ways out of one office) can be named. A bound token
that is shown without its key or certificate was refused already, and is told of at once: it is
real, so somebody has it who should not (`services/identity.py`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import TypeAlias

from midflight.domain.event import Event
from midflight.domain.finding import Sighting, Strength
from midflight.services.detectors.kept import RUNS, STRONG_AGAIN_S, Kept
from midflight.services.telling import Tell

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

MOVED_AFTER = 1
"""Actions from another place until it is found: a fair finding."""
BOTH_AFTER = 2
"""Actions, the other's and again the first's, until a token is known to be in two hands: strong."""
TOKENS = 20_000
REMEMBERED = 4


class _Places:
    """Where one token or run was used from."""

    __slots__ = ("at", "left", "place", "quiet", "record", "token", "told")

    def __init__(self) -> None:
        self.at = ""
        """As the last event said it."""
        self.place = ""
        self.left: tuple[str, ...] = ()
        """Places that it was used from before, the last `REMEMBERED`."""
        self.told = 0
        self.quiet = 0.0
        """Until when (monotonic seconds) what goes on is not said again."""
        self.record = ""
        self.token = ""


class Elsewhere:
    """See the module."""

    name = "elsewhere"

    def __init__(self, *, one_place: Sequence[Network] = ()) -> None:
        """`one_place`: networks whose addresses are one place each."""
        self._one_place = tuple(one_place)
        self._tokens: Kept[str, _Places] = Kept(_Places, bound=TOKENS)
        self._runs: Kept[str, _Places] = Kept(_Places, bound=RUNS)
        self._shown: Kept[tuple[str, bool], set[str]] = Kept(set, bound=TOKENS)
        self._tell: Tell | None = None

    def watch(self, tell: Tell) -> None:
        """Say through `tell` what is found of tokens that were refused."""
        self._tell = tell

    def see(self, event: Event) -> Sighting | None:
        """Look at one event: where its caller is."""
        peer = event.peer
        if not peer:
            return None
        found: Sighting | None = None
        if event.token:
            token = self._tokens.of(event.token)
            if token.at != peer:
                found = self._moved(token, event, (Strength.FAIR, Strength.STRONG), "token")
        if event.run:
            run = self._runs.of(event.run)
            if run.at != peer:
                same = run.token == event.token
                seen = self._moved(run, event, (Strength.WEAK, Strength.FAIR), "run")
                # Of one and the same token the finding about the token says more.
                found = found or (None if same and event.token else seen)
            run.token = event.token
        return found

    def stolen(self, *, workload: str, run: str, token: str, peer: str, why: str) -> None:
        """A token that holds was shown by somebody who is not its holder; see `Stolen`.

        Told once a token, place and reason: who shows it a million times writes one record. From
        where its holder is, it may be a client that is set up badly or sends a proof twice; those
        are counted apart, so that they leave room for the others.
        """
        place = self._place(peer)
        used = self._tokens.get(token)
        at_home = used is not None and used.place == place
        told = self._shown.of((token, at_home))
        key = f"{place} {why}"
        if self._tell is None or key in told or len(told) >= REMEMBERED:
            return
        told.add(key)
        self._tell(
            self.name,
            Sighting(
                strength=Strength.FAIR if at_home else Strength.STRONG,
                usual="shown with what it is bound to",
                seen=f"a token from {place or 'somewhere'} that holds, refused: {why}",
                after=MOVED_AFTER,
            ),
            workload=workload,
            run=run,
        )

    def run_ended(self, run: str) -> None:
        """Forget the run; its token lives until it expires, so that is remembered."""
        self._runs.drop(run)

    def _moved(
        self, places: _Places, event: Event, strengths: tuple[Strength, Strength], what: str
    ) -> Sighting | None:
        place, before = self._place(event.peer), places.place
        earlier, places.record = places.record, event.record
        places.at, places.place = event.peer, place
        if not before or place == before:
            return None
        level = 2 if place in places.left else 1
        places.left = (*places.left, before)[-REMEMBERED:]
        if level <= places.told and (level < 2 or event.mono < places.quiet):
            return None
        places.told = max(level, places.told)
        places.quiet = event.mono + STRONG_AGAIN_S
        return Sighting(
            strength=strengths[level - 1],
            usual=f"used from {before}",
            seen=f"the {what} used from {place}"
            if level == 1
            else f"the {what} used in turns from {before} and {place}",
            after=MOVED_AFTER if level == 1 else BOTH_AFTER,
            records=tuple(filter(None, (earlier, event.record))),
        )

    def _place(self, peer: str) -> str:
        try:
            address = ipaddress.ip_address(peer.partition("%")[0])
        except ValueError:
            return peer
        for network in self._one_place:
            if address in network:
                return str(network)
        if address.version == 4:
            return peer
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.IPv6Network((address, 64), strict=False))


__all__ = ["BOTH_AFTER", "MOVED_AFTER", "REMEMBERED", "TOKENS", "Elsewhere", "Network"]
