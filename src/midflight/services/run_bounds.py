"""Limits of runs, from the settings. Nothing else; the verbs are in `runs.py`."""

from __future__ import annotations

from midflight.domain.value import Value


class Bounds(Value):
    """Limits of runs. Times in seconds; `max_depth` is how many runs one may descend from."""

    ttl_s: int = 3600
    idle_timeout_s: int = 900
    max_steps: int = 1000
    implicit: bool = True
    max_depth: int = 4


__all__ = ["Bounds"]
