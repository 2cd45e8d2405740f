"""A refusal as an answer the agent can use.

For tools it is a result with `isError`, which models see and clients survive; for everything else,
whose results have no such flag, a JSON-RPC error with the same data. The machine-readable part
stands in `_meta` and not in `structuredContent`, which clients may hold against the tool's output
schema.
"""

from __future__ import annotations

from typing import Final

from midflight.domain.decision import Challenge, Deny, DenyCode, Reason
from midflight.domain.held import iso, waiting_words
from midflight.domain.value import JSONObject, Value

REFUSAL: Final = "dev.midflight/refusal"
HANDLE: Final = "dev.midflight/handle"
"""Member of `_meta`: a call that waits is answered with it, and tried again with it."""

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


class Way(Value):
    """How to go on with what waits for a person: the page he answers at, and a handle or none."""

    url: str = ""
    handle: str = ""


NO_WAY: Final = Way()


def as_result(decision: Deny | Challenge, record_id: str, way: Way = NO_WAY) -> JSONObject:
    """The refusal as a `CallToolResult`. `record_id` names the ledger's record of it."""
    return {
        "content": [{"type": "text", "text": as_text(decision, record_id, way)}],
        "isError": True,
        "_meta": as_data(decision, record_id, way),
    }


def as_error(decision: Deny | Challenge, record_id: str, way: Way = NO_WAY) -> JSONObject:
    """The refusal as a JSON-RPC error object, for methods whose results have no `isError`."""
    return {
        "code": REFUSED,
        "message": as_text(decision, record_id, way),
        "data": as_data(decision, record_id, way),
    }


def as_data(decision: Deny | Challenge, record_id: str, way: Way = NO_WAY) -> JSONObject:
    """The refusal for machines: `_meta` of a result, `data` of an error."""
    data: JSONObject = {REFUSAL: _data(decision, record_id, way)}
    if way.handle:
        data[HANDLE] = way.handle
    return data


def waiting(decision: Challenge) -> str:
    """Who is asked, and until when, in words."""
    return waiting_words(
        decision.asked or decision.approvers,
        expires_at=decision.expires_at,
        now=decision.expires_at - decision.expires_s,
    )


def as_text(decision: Deny | Challenge, record_id: str, way: Way = NO_WAY) -> str:
    """The refusal in words."""
    code, help_text = _code(decision), _help(decision, way)
    if isinstance(decision, Challenge) and decision.expires_at:
        lines = [f"{waiting(decision)}; until then Midflight does not let this happen."]
    else:
        lines = [f"Midflight did not let this happen: {_MEANINGS[code]}."]
    lines.extend(f"- {r.policy}: {r.text}" if r.text else f"- {r.policy}" for r in decision.reasons)
    if help_text:
        lines.append(f"What would help: {help_text}")
    if record_id:
        lines.append(f"Record: {record_id}")
    return "\n".join(lines)


def _data(decision: Deny | Challenge, record_id: str, way: Way) -> JSONObject:
    data: JSONObject = {
        "code": _code(decision).value,
        "policies": [reason.policy for reason in decision.reasons],
        "record": record_id,
        "help": _help(decision, way),
    }
    if isinstance(decision, Challenge):
        data["approvers"] = list(decision.approvers)
        data["expires_s"] = decision.expires_s
        if decision.approval:
            data["approval"] = decision.approval
        if decision.expires_at:
            data["state"] = "pending"
            data["asked"] = list(decision.asked or decision.approvers)
            data["expires_at"] = iso(decision.expires_at)
            if way.url:
                data["url"] = way.url
            if way.handle:
                data["handle"] = way.handle
    return data


def _code(decision: Deny | Challenge) -> DenyCode:
    return decision.code if isinstance(decision, Deny) else DenyCode.APPROVAL_REQUIRED


def _help(decision: Deny | Challenge, way: Way) -> str:
    if isinstance(decision, Deny) and decision.help:
        return decision.help
    if isinstance(decision, Challenge):
        who = ", ".join(decision.asked or decision.approvers) or "an approver"
        if not decision.expires_at:
            asked = f"ask {who} to approve it within {decision.expires_s} seconds"
            return f"{asked}, then do exactly the same again."
        where = f"`midflight approval show {decision.approval}`"
        if way.url:
            where = f"{way.url}, or {where}"
        again = f", with {HANDLE!r} in _meta" if way.handle else ""
        return f"{who} answers at {where}; then do exactly the same again{again}."
    return _first_help(decision.reasons)


def _first_help(reasons: tuple[Reason, ...]) -> str:
    return next((reason.help for reason in reasons if reason.help), "")


__all__ = [
    "HANDLE",
    "NO_WAY",
    "REFUSAL",
    "REFUSED",
    "Way",
    "as_data",
    "as_error",
    "as_result",
    "as_text",
    "waiting",
]
