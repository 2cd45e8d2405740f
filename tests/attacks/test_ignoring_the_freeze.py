"""Whoever stands between a program and the gateway keeps the freeze from it.

He delays the control stream, drops its events, plays an old one, or opens none. He cannot read or
write inside of TLS; what is left to him makes the lease end, and the program freezes.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midflight.apps.sdk.freeze import Freeze, Frozen

LEASE_S = 10.0
WAIT_S = 30.0
Talk = Callable[["Between"], None]


class Between:
    """Answers one client as a gateway would, when and as the test says."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.nonces: list[str] = []
        self._peer: socket.socket | None = None

    def accept(self) -> None:
        """Take the next request; its nonce is noted."""
        self.drop()
        self._peer, _ = self._listener.accept()
        self._peer.settimeout(WAIT_S)
        head = b""
        while b"\r\n\r\n" not in head:
            head += self._peer.recv(65536)
        (nonce,) = [
            line.split(b": ")[1] for line in head.split(b"\r\n") if b"Midflight-Nonce" in line
        ]
        self.nonces.append(nonce.decode())
        self._peer.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")

    def say(self, name: str, **data: Any) -> None:
        """One event."""
        assert self._peer is not None
        self._peer.sendall(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode())

    def mumble(self, said: bytes) -> None:
        """Anything."""
        assert self._peer is not None
        self._peer.sendall(said)

    def hello(self, nonce: str = "") -> None:
        """Begin, with the client's nonce."""
        self.say("hello", lease_s=LEASE_S, beat_s=2.5, nonce=nonce or self.nonces[-1])

    def drop(self) -> None:
        """Hang up."""
        if self._peer is not None:
            self._peer.close()
            self._peer = None

    def close(self) -> None:
        self.drop()
        self._listener.close()


class Time:
    """The client's clock, which the test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def held() -> Iterator[tuple[Between, Freeze, Time]]:
    """A client that holds a stream of the one in between."""
    between, clock = Between(), Time()
    freeze = Freeze(between.url, headers=lambda _method, _url: {}, boottime=clock)
    freeze.start()
    try:
        between.accept()
        between.hello()
        assert freeze.wait_ready(WAIT_S)
        freeze.look()
        yield between, freeze, clock
    finally:
        between.close()
        freeze.close()


def test_a_stream_that_falls_silent_freezes_when_the_lease_ends() -> None:
    with held() as (_, freeze, clock):
        clock.now += LEASE_S - 0.001
        freeze.look()
        clock.now += 0.001
        with pytest.raises(Frozen, match="longer than the lease"):
            freeze.look()


def test_beats_that_are_delayed_do_not_hold_the_lease() -> None:
    """They come steadily, each as old as he likes: the freeze would come as late."""
    with held() as (between, freeze, clock):
        for age in range(9):
            between.say("beat", age_s=float(age))
        clock.now += LEASE_S + 9.0
        assert freeze.frozen
        between.say("beat", age_s=9.0)  # one that was made ten seconds ago
        # He is left: the client asks anew, with another nonce.
        between.accept()
        assert len(set(between.nonces)) == 2
        assert freeze.frozen


def test_a_stream_that_was_recorded_is_not_taken_for_a_new_one() -> None:
    with held() as (between, freeze, clock):
        recorded = between.nonces[0]
        clock.now += LEASE_S
        between.drop()
        between.accept()
        between.hello(recorded)
        between.say("beat", age_s=1.0)
        between.accept()  # it was hung up on, and the client asks again
        assert freeze.frozen
        between.hello()
        while freeze.frozen:
            pass


def test_a_thaw_that_is_old_thaws_nothing() -> None:
    with held() as (between, freeze, clock):
        between.say("freeze", revocation="rev_1", reason="odd", final=False, age_s=1.0)
        while not freeze.frozen:
            pass
        clock.now += 2 * LEASE_S
        between.say("thaw", age_s=2.0)
        between.accept()
        assert freeze.frozen


def test_what_is_over_for_good_is_not_thawed() -> None:
    with held() as (between, freeze, _):
        between.say("freeze", revocation="", reason="The run has ended.", final=True, age_s=1.0)
        between.say("thaw", age_s=1.0)
        between.say("beat", age_s=2.0)
        while not freeze.frozen:
            pass
        between.drop()
        freeze.close()
        with pytest.raises(Frozen):
            freeze.look()


def test_whoever_is_not_heard_at_all_never_thaws() -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    freeze = Freeze(url, headers=lambda _method, _url: {})
    freeze.start()
    assert freeze.frozen
    freeze.close()
    assert freeze.frozen


@settings(max_examples=25)  # each asks twice, a tenth of a second apart
@given(st.binary(max_size=400))
def test_nothing_but_a_gateways_words_thaws(said: bytes) -> None:
    """Any bytes in place of a stream: it stays frozen, and its thread goes on."""
    between = Between()
    freeze = Freeze(between.url, headers=lambda _method, _url: {})
    freeze.start()
    between.accept()
    between.mumble(said)
    between.drop()
    between.accept()  # it asks again
    assert freeze.frozen
    between.close()
    freeze.close()
