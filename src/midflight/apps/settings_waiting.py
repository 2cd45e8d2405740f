"""`[approvals.wait]`: how a client waits while a person is asked, and how many may."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from midflight.apps.settings_sections import Approvals, Seconds, Section


class Wait(Section):
    """`[approvals.wait]`: see docs/waiting.md."""

    # How long one call is held; below the minute that clients and proxies allow as a rule.
    hold: Annotated[Seconds, Field(ge=0, le=3_600)] = 50
    # What is used: tasks and rounds of 2026-07-28, the page of 2025-11-25, holding for all.
    forms: tuple[Literal["task", "round", "page", "hold"], ...] = ("task", "round", "page", "hold")
    # Waits of one run, of one workload, and of all at a time; beyond it the answer comes at once.
    max_of_run: int = Field(default=20, ge=1, le=10_000)
    max_of_workload: int = Field(default=200, ge=1, le=100_000)
    max_of_all: int = Field(default=5_000, ge=1, le=1_000_000)


class ApprovalsAndWait(Approvals):
    """`[approvals]` with its table on waiting."""

    wait: Wait = Wait()


__all__ = ["ApprovalsAndWait", "Wait"]
