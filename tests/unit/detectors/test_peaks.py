"""Numbers that detectors learn."""

from __future__ import annotations

import pytest

from midflight.services.detectors.peaks import (
    FADE,
    MONTH_DAYS,
    MONTH_RISE,
    RISE,
    Peak,
    Window,
    at_random,
)


def test_a_window_forgets_what_is_older_than_it() -> None:
    window = Window(60.0)
    assert [window.add(mono, 1) for mono in (0.0, 10.0, 59.0)] == [1, 2, 3]
    assert window.add(61.0, 1) == 3  # the first slot has gone
    assert window.add(1_000_000.0, 5) == 5


def test_a_window_takes_no_step_back() -> None:
    window = Window(60.0)
    window.add(500.0, 2)
    assert window.add(100.0, 1) == 3
    assert window.add(500.0, 1) == 4


def test_a_day_raises_a_peak_only_so_far() -> None:
    peak = Peak()
    peak.learn(100, step=1, freely=True)
    for _ in range(50):
        peak.learn(1_000, step=1, freely=False)
    assert peak.high == 100 * RISE
    peak.next_day()
    peak.learn(1_000, step=1, freely=False)
    assert peak.high == pytest.approx(100 * RISE * FADE * RISE)


@pytest.mark.parametrize("day", [0, 10, MONTH_DAYS - 2])
def test_a_month_raises_a_peak_only_so_far_whenever_it_begins(day: int) -> None:
    peak = Peak()
    peak.learn(100, step=1, freely=True)
    for _ in range(day):
        peak.next_day()
        peak.learn(100, step=1, freely=False)
    for _ in range(MONTH_DAYS):
        peak.next_day()
        peak.learn(1e9, step=1, freely=False)
        assert peak.high <= 100 * MONTH_RISE
    for _ in range(MONTH_DAYS):
        peak.next_day()
        peak.learn(1e9, step=1, freely=False)
        assert peak.high <= 100 * MONTH_RISE**2
    assert peak.high > 100 * MONTH_RISE


def test_a_small_peak_may_take_a_step() -> None:
    peak = Peak()
    peak.learn(9, step=3, freely=False)
    assert peak.high == 3


def test_what_does_not_come_again_fades_by_half_in_sixty_days() -> None:
    peak = Peak(high=64, base=64)
    for _ in range(60):
        peak.next_day()
    assert peak.high == pytest.approx(32)


def test_what_is_expected_is_no_surprise() -> None:
    assert at_random(0, 0.5) == 1.0
    assert at_random(3, 0.05) < 0.001
    assert at_random(3, 1.0) > 0.05
    assert at_random(1, 0.1) == pytest.approx(0.0952, abs=1e-4)
