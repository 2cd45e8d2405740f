"""Handles under anything: whatever text comes, and in whatever order, one is taken at most once."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from midflight.adapters.store.memory import MemoryStore
from midflight.domain.errors import NotFound
from midflight.domain.held import HeldForm, HeldState
from midflight.domain.identity import Caller
from midflight.services.handles import HANDLE, TASK, Handles
from midflight.testing import FakeClock

CALLERS = [
    Caller(workload=workload, run=run, token="t", proof="bearer", expires_at=4_000_000_000)
    for workload in ("w1", "w2")
    for run in (None, "r1", "r2")
]
WHO = st.sampled_from(CALLERS)
SUBJECTS = st.sampled_from(["s1", "s2"])
# No lone surrogates: no message that decoded holds any.
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=100)


async def opened() -> tuple[Handles, FakeClock]:
    store, clock = MemoryStore(), FakeClock()
    await store.open()
    return Handles(store=store, clock=clock), clock


async def give(handles: Handles, caller: Caller, subject: str, form: HeldForm) -> str:
    return await handles.give(
        form, caller, approval="apr_1", run="r", subject=subject, ends_at=1_800_000_600
    )


@given(text=TEXT, prefix=st.sampled_from(["", HANDLE, TASK]), caller=WHO, subject=SUBJECTS)
def test_any_text_is_a_handle_or_a_clean_error(
    text: str, prefix: str, caller: Caller, subject: str
) -> None:
    async def check() -> None:
        handles, _ = await opened()
        await give(handles, caller, subject, HeldForm.ROUND)
        await give(handles, caller, subject, HeldForm.TASK)
        for verb in (
            lambda: handles.take(prefix + text, caller, subject=subject),
            lambda: handles.task(prefix + text, caller),
        ):
            try:
                await verb()
            except NotFound:
                continue
            raise AssertionError(text)

    asyncio.run(check())


@given(
    owner=WHO,
    subject=SUBJECTS,
    form=st.sampled_from(list(HeldForm)),
    tries=st.lists(st.tuples(WHO, SUBJECTS, st.integers(0, 600)), max_size=12),
)
def test_a_handle_is_taken_once_in_time_by_its_caller_for_its_request(
    owner: Caller, subject: str, form: HeldForm, tries: list[tuple[Caller, str, int]]
) -> None:
    async def check() -> None:
        handles, clock = await opened()
        handle = await give(handles, owner, subject, form)
        is_there, ends = form is not HeldForm.TASK, 1_800_000_600 + 900
        for caller, about, seconds in tries:
            clock.advance(seconds)
            try:
                held = await handles.take(handle, caller, subject=about)
            except NotFound:
                assert not (is_there and (caller, about) == (owner, subject) and clock.now() < ends)
                continue
            assert is_there
            assert (caller, about) == (owner, subject)
            assert clock.now() < ends
            assert held.state is HeldState.WAITING
            is_there = False

    asyncio.run(check())
