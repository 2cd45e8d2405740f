"""Deadlines of what waits for an upstream: one timer, nobody is told too early, late or never."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any, cast

from midflight.adapters.upstream.deadlines import Deadlines


class Loop:
    """A loop whose time is moved by hand. Has at most one timer."""

    def __init__(self) -> None:
        self.now = 0.0
        self.due = math.inf
        self._ring: Callable[[], None] | None = None
        self._soon: list[Callable[[], None]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, ring: Callable[..., None], *args: Any) -> Loop:
        assert self._ring is None
        self.due, self._ring = when, lambda: ring(*args)
        return self

    def call_soon(self, work: Callable[[], None]) -> None:
        self._soon.append(work)

    def cancel(self) -> None:
        self.due, self._ring = math.inf, None

    def go_to(self, now: float) -> None:
        self.now = now
        while self.due <= now:
            ring, self._ring, self.due = self._ring, None, math.inf
            assert ring is not None
            ring()
        while self._soon:
            self._soon.pop(0)()


class Waits:
    """Something with a deadline; writes down when it was told."""

    def __init__(self, loop: Loop, deadline: float) -> None:
        self.deadline = deadline
        self.told: list[float] = []
        self._loop = loop

    def overdue(self) -> None:
        self.told.append(self._loop.now)


def begun(*deadlines: float) -> tuple[Loop, Deadlines, list[Waits]]:
    loop, kept = Loop(), Deadlines()
    waits = [Waits(loop, deadline) for deadline in deadlines]
    for one in waits:
        kept.keep(one, as_loop(loop))
    return loop, kept, waits


def as_loop(loop: Loop) -> asyncio.AbstractEventLoop:
    return cast("asyncio.AbstractEventLoop", loop)


def test_each_is_told_at_its_own_deadline() -> None:
    loop, kept, (late, early, middle) = begun(30.0, 10.0, 20.0)
    for now in (9.0, 10.0, 19.0, 20.0, 29.0):
        loop.go_to(now)
        for one in (early, middle):
            if one.told:
                kept.drop(one)
    assert (early.told, middle.told, late.told) == ([10.0], [20.0], [])
    loop.go_to(30.0)
    assert late.told == [30.0]


def test_one_that_comes_later_and_is_due_sooner_is_not_told_late() -> None:
    loop, kept, _ = begun(300.0)
    soon = Waits(loop, 5.0)
    kept.keep(soon, as_loop(loop))
    loop.go_to(5.0)
    assert soon.told == [5.0]


def test_a_deadline_that_was_put_off_is_not_told_before_it_and_told_then() -> None:
    loop, _, (one,) = begun(10.0)
    one.deadline = 25.0
    loop.go_to(10.0)
    assert one.told == []
    loop.go_to(25.0)
    assert one.told == [25.0]


def test_what_ended_is_not_told_and_the_others_are() -> None:
    loop, kept, (gone, stays) = begun(10.0, 20.0)
    kept.drop(gone)
    loop.go_to(20.0)
    assert (gone.told, stays.told) == ([], [20.0])


def test_the_next_is_told_after_everything_had_ended() -> None:
    loop, kept, (one,) = begun(10.0)
    kept.drop(one)
    loop.go_to(10.0)
    following = Waits(loop, 15.0)
    kept.keep(following, as_loop(loop))
    loop.go_to(15.0)
    assert following.told == [15.0]


def test_closing_leaves_a_timer_only_where_something_waits() -> None:
    loop, kept, (one,) = begun(10.0)
    kept.close()
    assert loop.due == 10.0
    kept.drop(one)
    kept.close()
    assert loop.due == math.inf
