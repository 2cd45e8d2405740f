"""The action: the one value that is judged, recorded and sent.

Bytes are decoded once, in `wire`, into an `Action`. Policy judges that value, the ledger names its
digest, and the upstream receives an encoding of that value: the caller's bytes are never forwarded.
"""

from __future__ import annotations

import enum
import hashlib

from midflight.domain.canonical import canonical
from midflight.domain.value import JSON, Discreet, JSONObject


class ActionKind(enum.StrEnum):
    """Every kind of message that carries a workload's data or will outwards.

    Values are stored in records and named in policies: append, never change.
    """

    CALL_TOOL = "call_tool"
    READ_RESOURCE = "read_resource"
    GET_PROMPT = "get_prompt"
    COMPLETE = "complete"
    SUBSCRIBE = "subscribe"
    ANSWER = "answer"
    NOTIFY = "notify"
    LIST = "list"
    TASK = "task"
    OPEN_RUN = "open_run"
    DELEGATE = "delegate"
    LEASE = "lease"


class Action(Discreet):
    """What a workload wants to do.

    Attributes:
        kind: which kind of message this is.
        upstream: name of the upstream as configured.
        name: what is acted on, as the upstream calls it: tool name, resource URI, prompt name,
            method name for `notify` and `list`, task id for `task`.
        arguments: the judged arguments, plain JSON. Treated as immutable from decoding on.
        method: the protocol's method, for the adapter that encodes the action.
        params: every further parameter that is sent (cursor, reference, task settings), judged
            as part of the digest. Never holds what `name` and `arguments` hold.
        meta: the part of the caller's `_meta` that passed the allow-list of `wire`.
    """

    shown = ("kind", "upstream", "method")

    kind: ActionKind
    upstream: str
    name: str
    method: str
    arguments: JSONObject = {}
    params: JSONObject = {}
    meta: JSONObject = {}


def digest(action: Action, *, run: str, salt: str, pin: str | None) -> str:
    """SHA-256, in hex, over the canonical form of (run, upstream, pin, kind, judged arguments).

    Decisions, approvals and records name an action by it. `salt` is the run's secret, erased with
    the run's sealing key, so that short arguments cannot be guessed back from a record.
    """
    judged: JSON = [
        "midflight/digest/v1",
        run,
        salt,
        action.upstream,
        pin,
        action.kind,  # encoded as its value
        action.method,
        action.name,
        action.arguments,
        action.params,
    ]
    return hashlib.sha256(canonical(judged)).hexdigest()


__all__ = ["Action", "ActionKind", "digest"]
