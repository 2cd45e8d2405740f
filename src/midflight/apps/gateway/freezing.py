"""`GET /freeze`: the control stream that a program holds to stop when its agent is stopped.

What an agent does through Midflight is cut there. What it does inside of its own process is not, so
a client in that process (`apps/sdk/freeze.py`) holds this stream: it is told in the turn in which
something that covers it is revoked, and again when that is over. The stream says how old it is with
every beat, and a client whose newest beat is older than its lease freezes by itself; so that
nobody who delays, drops or replays the stream keeps it going.

Events (server-sent, JSON): `hello` {lease_s, beat_s, run, workload, nonce}; then, each with the
stream's `age_s`, `beat`, `freeze` {revocation, reason, final} and `thaw`. It says nothing about
anybody else. Above: `app.py`, which sends what is below `/freeze` here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from midflight.apps.gateway.exchange import gone
from midflight.apps.gateway.fair_places import FairPlaces
from midflight.apps.gateway.noise import Noise
from midflight.apps.server.asgi import Receive, Scope, Send
from midflight.apps.server.peer import scope_peer
from midflight.apps.server.respond import (
    send_error,
    send_json,
    send_sse_chunk,
    send_sse_end,
    send_sse_start,
)
from midflight.domain.decision import Deny
from midflight.domain.errors import Interrupted, MidflightError, Unauthenticated
from midflight.domain.identity import Caller
from midflight.domain.revocation import Revocation, ScopeKind
from midflight.domain.run import RunState
from midflight.services.flights import Flight, FlightKind
from midflight.services.identity import Identity
from midflight.services.interruption import Interruption
from midflight.services.inventory import Inventory
from midflight.services.listing import Listing, Seat
from midflight.services.presented import Credentials
from midflight.services.runs import Runs
from midflight.wire import json

PATH = "/freeze"
LEASE_S = 10.0
"""How old a client's newest beat may be before it freezes by itself."""
BEAT_S = 2.5
MAX_A_WORKLOAD = 64
MAX_STREAMS = 2_048
"""Half of the connections that a gateway takes: these streams keep no action out."""
MAX_NONCE = 64

_Key = tuple[ScopeKind, str]


class FrozenParts(Protocol):
    """What of a plane this needs."""

    identity: Identity
    interruption: Interruption
    inventory: Inventory
    listing: Listing
    runs: Runs


class FreezeFront:
    """See the module. `ASGI 3`."""

    def __init__(
        self,
        plane: FrozenParts,
        *,
        public_url: str,
        noise: Noise,
        lease_s: float = LEASE_S,
        beat_s: float = BEAT_S,
    ) -> None:
        """Hears of every revocation and of every run that ends from now on."""
        self._identity = plane.identity
        self._interruption = plane.interruption
        self._inventory = plane.inventory
        self._listing = plane.listing
        self._public_url = public_url
        self._noise = noise
        self._lease_s = lease_s
        self._beat_s = beat_s
        self._by_scope: dict[_Key, set[_Held]] = {}
        self._places = FairPlaces[_Held](of_all=MAX_STREAMS, of_workload=MAX_A_WORKLOAD)
        plane.interruption.watch(self._changed)
        plane.runs.on_ended(self._run_ended)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["path"] != PATH or scope["method"] != "GET":
            body = json.encode({"code": "not_found", "message": f"There is GET {PATH} here."})
            await send_json(send, body, status=404)
            return
        try:
            caller = await self._identify(scope)
            seat = await self._listing.seat(caller)
        except Unauthenticated as error:
            self._noise.refused(error.message, peer=scope_peer(scope).address)
            challenge = self._identity.challenge_header(error).encode("latin-1")
            await send_error(send, error, headers=[(b"www-authenticate", challenge)])
            return
        except MidflightError as error:
            await send_error(send, error)
            return
        if isinstance(seat, Deny):
            await _refuse(send, seat)
            return
        workload = seat.workload.id
        has_room, displaced = self._places.make_room(workload, seat.run.id)
        if displaced is not None:
            displaced.end("")  # it may ask again, and freezes when its lease ends
        if not has_room:
            text = f"{workload} holds {MAX_A_WORKLOAD} control streams, or all together too many."
            self._noise.refused(text, peer=scope_peer(scope).address)
            body = json.encode({"code": "too_many_streams", "message": text})
            await send_json(send, body, status=429)
            return
        held = _Held(seat, caller, self._interruption)
        self._enter(held)
        try:
            await self._serve(held, _nonce(scope), receive=receive, send=send)
        finally:
            self._leave(held)

    # Inside

    async def _identify(self, scope: Scope) -> Caller:
        peer = scope_peer(scope)

        def given(name: bytes) -> tuple[str, ...]:
            return tuple(v.decode("latin-1") for key, v in scope["headers"] if key == name)

        return await self._identity.identify(
            Credentials(
                authorization=given(b"authorization"),
                dpop=given(b"dpop"),
                method=scope["method"],
                url=self._public_url + PATH,
                peer=peer.address,
                certificates=peer.chain,
            )
        )

    async def _serve(self, held: _Held, nonce: str, *, receive: Receive, send: Send) -> None:
        clock = self._interruption.clock
        began = clock.monotonic()
        left = asyncio.ensure_future(gone(receive))
        left.add_done_callback(lambda _: held.wake.set())
        ending = asyncio.get_running_loop().call_later(
            max(0.0, held.caller.expires_at - clock.now()), held.end, ""
        )
        try:
            await send_sse_start(send)
            hello = {
                "lease_s": self._lease_s,
                "beat_s": self._beat_s,
                "run": held.flight.run,
                "workload": held.flight.workload,
                "nonce": nonce,
            }
            await send_sse_chunk(send, _event("hello", hello))
            held.look()  # it may have been revoked while the stream was being opened
            while not left.done():
                for name, data in held.take():
                    aged = data | {"age_s": clock.monotonic() - began}
                    await send_sse_chunk(send, _event(name, aged))
                if held.is_over:
                    break
                await _woken(held.wake, self._beat_s)
                held.look()
                missing = self._inventory.standing_of(held.caller, clock.now())
                if missing is not None:
                    held.end(missing)
                elif not held.events:
                    age = clock.monotonic() - began
                    await send_sse_chunk(send, _event("beat", {"age_s": age}))
            if not left.done():
                await send_sse_end(send)
        finally:
            ending.cancel()
            left.cancel()

    def _changed(self, revocation: Revocation) -> None:
        key = (revocation.scope.kind, revocation.scope.id)
        for held in self._by_scope.get(key, ()):
            held.look()

    def _run_ended(self, run: str, state: RunState) -> None:
        for held in list(self._by_scope.get((ScopeKind.RUN, run), ())):
            held.look()
            held.end(f"Run {run} has ended ({state.value}).")

    def _enter(self, held: _Held) -> None:
        self._places.enter(held, held.flight.workload, held.flight.run)
        for key in held.flight.scopes:
            self._by_scope.setdefault(key, set()).add(held)

    def _leave(self, held: _Held) -> None:
        held.leave()
        self._places.leave(held, held.flight.workload, held.flight.run)
        for key in held.flight.scopes:
            streams = self._by_scope.get(key, set[_Held]())
            streams.discard(held)
            if not streams:
                self._by_scope.pop(key, None)


class _Held:
    """One stream, and what it has yet to say."""

    def __init__(self, seat: Seat, caller: Caller, interruption: Interruption) -> None:
        self.caller = caller
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.wake = asyncio.Event()
        self.is_over = False
        self._interruption = interruption
        self._seat = seat
        self._frozen = ""
        self._reason = ""
        self.flight = self._take_off()

    def look(self) -> None:
        """Notice whether it is covered by a revocation, and say so if that has changed."""
        covering = self._interruption.covering(self.flight.scopes)
        revocation = "" if covering is None else covering.id
        if self.is_over or revocation == self._frozen:
            return
        self._frozen = revocation
        if covering is not None:
            self._reason = f"Revoked by {covering.author}: {covering.reason}"
            said = {"revocation": covering.id, "reason": self._reason, "final": False}
            self._say("freeze", said)
            return
        self._reason = ""
        self.leave()
        self.flight = self._take_off()
        self._say("thaw", {})

    def end(self, why: str) -> None:
        """It is over for good: frozen if there is a reason, or the token has ended."""
        if not self.is_over:
            self.is_over = True
            if why:
                # What ended it is what was said first: a run that was revoked has ended, too.
                said = {"revocation": self._frozen, "reason": self._reason or why, "final": True}
                self._say("freeze", said)
            self.wake.set()

    def take(self) -> Sequence[tuple[str, dict[str, Any]]]:
        """What is to be said now."""
        events, self.events = self.events, []
        self.wake.clear()
        return events

    def leave(self) -> None:
        """It is not in flight any more."""
        self._interruption.leave(self.flight)

    def _say(self, name: str, data: dict[str, Any]) -> None:
        self.events.append((name, data))
        self.wake.set()

    def _take_off(self) -> Flight:
        seat = self._seat
        flight = Flight(
            record="",
            run=seat.run.id,
            workload=seat.workload.id,
            upstream="",
            name="freeze",
            scopes=seat.scopes,
            began=self._interruption.clock.monotonic(),
            kind=FlightKind.STREAM,
        )
        try:
            self._interruption.take_off(flight)
        except Interrupted as why:
            flight.deny(why)
        return flight


async def _woken(wake: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await wake.wait()
    except TimeoutError:
        return


async def _refuse(send: Send, seat: Deny) -> None:
    reason = seat.reasons[0] if seat.reasons else None
    told = {
        "code": seat.code.value,
        "message": "" if reason is None else reason.text or reason.policy,
        "help": seat.help,
    }
    await send_json(send, json.encode(told), status=403)


def _nonce(scope: Scope) -> str:
    """What the client wants to hear again, so that it knows this stream from an older one."""
    found = [value for name, value in scope["headers"] if name == b"midflight-nonce"]
    text = found[0].decode("latin-1") if len(found) == 1 else ""
    return text if len(text) <= MAX_NONCE and text.isascii() and text.isalnum() else ""


def _event(name: str, data: dict[str, Any]) -> bytes:
    return b"event: " + name.encode("ascii") + b"\ndata: " + json.encode(data) + b"\n\n"


__all__ = ["BEAT_S", "LEASE_S", "MAX_A_WORKLOAD", "PATH", "FreezeFront", "FrozenParts"]
