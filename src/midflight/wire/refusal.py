"""A refusal as an answer the agent can use.

For tools it is a result with `isError`, which models see and clients survive; for everything else,
whose results have no such flag, a JSON-RPC error with the same data. The machine-readable part
stands in `_meta` and not in `structuredContent`, which clients may hold against the tool's output
schema.
"""

from __future__ import annotations

from typing import Final

from midflight.domain.decision import Challenge, Deny, DenyCode, Reason
from midflight.domain.value import JSONObject

REFUSAL: Final = "dev.midflight/refusal"

# Outside -32768 … -32000: MCP 2026-07-28 (basic §Error Codes) forbids new codes in JSON-RPC's
# reserved range, -32000 to -32019 included.
REFUSED: Final = -31010

_MEANINGS: Final[dict[DenyCode, str]] = {
    DenyCode.POLICY: "policy does not allow it",
    DenyCode.POLICY_ERROR: "policy could not be evaluated, and what is not allowed is denied",
    DenyCode.NO_POLICY: "no policy is active, and without one nothing is allowed",
    DenyCode.UNREGISTERED: "the workload is not registered",
    DenyCode.UNPINNED: "nobody has reviewed the definition of what it calls",
    DenyCode.DRIFTED: "the definition of what it calls has changed since it was reviewed",
    DenyCode.UNKNOWN_TARGET: "there is nothing of that name",
    DenyCode.INVALID_ARGUMENTS: "its arguments do not fit the reviewed definition",
    DenyCode.RUN_NOT_OPEN: "the run is over",
    DenyCode.RUN_EXHAUSTED: "the run has used up its steps",
    DenyCode.REVOKED: "it has been revoked",
    DenyCode.INTERRUPTED: "it was stopped while it was running",
    DenyCode.NARROWED: "this run was delegated for less",
    DenyCode.SCOPE: "this token was issued for less",
    DenyCode.APPROVAL_REQUIRED: "a person has to approve it first",
    DenyCode.LEDGER_UNAVAILABLE: "it cannot be recorded, and nothing unrecorded may leave",
    DenyCode.STORE_UNAVAILABLE: "the facts it depends on cannot be read",
    DenyCode.UPSTREAM_UNAVAILABLE: "the upstream could not be reached; nothing was sent",
    DenyCode.UPSTREAM_BROKEN: "it was sent, and no usable answer came back",
    DenyCode.OVERLOADED: "too much is running at once",
    DenyCode.INTERNAL: "something broke inside Midflight, and then nothing is allowed",
    DenyCode.LIMITED: "policy limits how often it may be done",
    DenyCode.CANARY: "it would carry out something that was planted to be found",
    DenyCode.LEASE: "a credential that it needs is not to be had, or not to be put there",
}


def as_result(decision: Deny | Challenge, record_id: str) -> JSONObject:
    """The refusal as a `CallToolResult`. `record_id` names the ledger's record of it."""
    return {
        "content": [{"type": "text", "text": _text(decision, record_id)}],
        "isError": True,
        "_meta": {REFUSAL: _data(decision, record_id)},
    }


def as_error(decision: Deny | Challenge, record_id: str) -> JSONObject:
    """The refusal as a JSON-RPC error object, for methods whose results have no `isError`."""
    return {
        "code": REFUSED,
        "message": _text(decision, record_id),
        "data": {REFUSAL: _data(decision, record_id)},
    }


def _text(decision: Deny | Challenge, record_id: str) -> str:
    code, help_text = _code(decision), _help(decision)
    lines = [f"Midflight did not let this happen: {_MEANINGS[code]}."]
    lines.extend(f"- {r.policy}: {r.text}" if r.text else f"- {r.policy}" for r in decision.reasons)
    if help_text:
        lines.append(f"What would help: {help_text}")
    if record_id:
        lines.append(f"Record: {record_id}")
    return "\n".join(lines)


def _data(decision: Deny | Challenge, record_id: str) -> JSONObject:
    data: JSONObject = {
        "code": _code(decision).value,
        "policies": [reason.policy for reason in decision.reasons],
        "record": record_id,
        "help": _help(decision),
    }
    if isinstance(decision, Challenge):
        data["approvers"] = list(decision.approvers)
        data["expires_s"] = decision.expires_s
        if decision.approval:
            data["approval"] = decision.approval
    return data


def _code(decision: Deny | Challenge) -> DenyCode:
    return decision.code if isinstance(decision, Deny) else DenyCode.APPROVAL_REQUIRED


def _help(decision: Deny | Challenge) -> str:
    if isinstance(decision, Deny) and decision.help:
        return decision.help
    if isinstance(decision, Challenge):
        who = ", ".join(decision.approvers) or "an approver"
        asked = f"ask {who} to approve it within {decision.expires_s} seconds"
        if decision.approval:
            asked += f" (`midflight approval show {decision.approval}`)"
        return f"{asked}, then do exactly the same again."
    return _first_help(decision.reasons)


def _first_help(reasons: tuple[Reason, ...]) -> str:
    return next((reason.help for reason in reasons if reason.help), "")


__all__ = ["REFUSAL", "REFUSED", "as_error", "as_result"]
