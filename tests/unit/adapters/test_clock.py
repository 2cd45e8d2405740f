from __future__ import annotations

import re
import time

import pytest

from midflight.adapters.clock import SystemClock
from midflight.services.ports.clock import Clock
from midflight.testing import FakeClock

BASE32 = re.compile(r"[a-z2-7]+\Z")


@pytest.fixture(params=[SystemClock, FakeClock])
def clock(request: pytest.FixtureRequest) -> Clock:
    return request.param()


def test_a_token_of_16_bytes_has_26_characters(clock: Clock) -> None:
    assert len(clock.token()) == 26


@pytest.mark.parametrize("nbytes", [1, 5, 10, 16, 32, 64])
def test_tokens_are_lower_case_base32_without_padding(clock: Clock, nbytes: int) -> None:
    token = clock.token(nbytes)
    assert BASE32.match(token)
    assert len(token) == -(-nbytes * 8 // 5)


def test_tokens_differ(clock: Clock) -> None:
    assert len({clock.token() for _ in range(1_000)}) == 1_000


def test_monotonic_time_never_steps_back(clock: Clock) -> None:
    seen = [clock.monotonic() for _ in range(1_000)]
    assert seen == sorted(seen)


def test_the_system_clock_tells_unix_time() -> None:
    before = time.time()
    assert before <= SystemClock().now() <= time.time()


def test_a_fake_clock_moves_only_when_told() -> None:
    clock = FakeClock(100.0)
    started = clock.monotonic()
    assert clock.now() == 100.0
    clock.advance(2.5)
    assert clock.now() == 102.5
    assert clock.monotonic() == started + 2.5


def test_a_fake_wall_clock_steps_back_and_monotonic_time_does_not() -> None:
    clock = FakeClock(100.0)
    started = clock.monotonic()
    clock.set_back(60)
    assert clock.now() == 40.0
    assert clock.monotonic() == started
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)


def test_a_fake_clock_gives_the_same_tokens_again() -> None:
    assert FakeClock().token() == FakeClock().token()
