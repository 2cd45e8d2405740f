"""A task that an upstream works on for a run (MCP tasks), as it is kept until it is over.

It is what is needed to have it cancelled by another process than the one that began it. It holds
no credential and no argument. Above: `services/task_flights.py`.
"""

from __future__ import annotations

from midflight.domain.revocation import ScopeKind
from midflight.domain.value import Discreet, JSONObject


class UpstreamTask(Discreet):
    """See the module.

    Attributes:
        upstream, task_id: where it runs, and what it is called there.
        run, workload: for whom.
        tool: the tool whose call began it, and `record` the intent of that call.
        scopes: all whose revocation cancels it.
        effectful: whether its call may have effects.
        token: what the call came with.
        extensions: those of MCP that the client of the call declared.
    """

    shown = ("upstream", "run", "record")

    upstream: str
    task_id: str
    run: str
    workload: str
    tool: str
    record: str
    scopes: tuple[tuple[ScopeKind, str], ...]
    effectful: bool = True
    token: str = ""
    extensions: JSONObject = {}


__all__ = ["UpstreamTask"]
