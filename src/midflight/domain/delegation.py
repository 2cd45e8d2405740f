"""Delegation: what a child run may have of its parent's time, steps and depth, and how it falls.

Rules only; `narrowing.py` beside it has those for tools and effects, `services/delegation.py` does
it. Each of them gives at most what the parent has (I3).
"""

from __future__ import annotations

from midflight.domain.run import RunState


def ends_at(*, now: int, ttl_s: int, parent_ends: int) -> int:
    """When a child ends: after `ttl_s` seconds, and never after its parent (Unix seconds)."""
    return min(now + ttl_s, parent_ends)


def share(left: int) -> int:
    """Steps a child gets that asked for no number: half of what its parent has left."""
    return left // 2


def is_too_deep(depth: int, *, max_depth: int) -> bool:
    """Whether a run may not be at this depth: 0 for one that has no parent."""
    return depth > max_depth


def falls_as(parent: RunState) -> RunState:
    """How an open child ends whose parent has ended so."""
    return RunState.REVOKED if parent is RunState.REVOKED else RunState.CLOSED


__all__ = ["ends_at", "falls_as", "is_too_deep", "share"]
