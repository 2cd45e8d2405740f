"""Midflight: a runtime protection plane for AI agents and other non-human identities.

Every action of a workload is decided when it happens, on what is true then, and can be
interrupted in mid-flight when that ceases to be true. Start with README.md, then
ARCHITECTURE.md, then `domain/action.py`, `domain/decision.py` and `services/guard.py`.
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
