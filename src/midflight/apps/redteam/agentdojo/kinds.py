"""What there is to make: kinds of cases, and suites with how many cases they give."""

from __future__ import annotations

KINDS = {
    "attack": "adj-a",
    "attack_interleaved": "adj-ai",
    "benign": "adj-b",
    "benign_poisoned": "adj-bp",
    "injection_only": "adj-i",
}
"""Kind, which is the file's name, to how its cases' ids begin."""

SUITES = {"workspace": 1_734, "travel": 446, "banking": 457, "slack": 341}
"""Suite to its number of cases: for a progress bar."""

__all__ = ["KINDS", "SUITES"]
