"""Records in a few words, for lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def summary(found: dict[str, Any]) -> str:
    """One stored record, as the control API gives it, in a few words."""
    record: dict[str, Any] | None = found["record"]
    if record is None:
        return str(found["damage"])
    words = _WORDS.get(found["kind"], _unknown)(record)
    return " ".join(str(word) for word in words if word)


def _intent(record: dict[str, Any]) -> list[Any]:
    facts = record["facts"]
    return [facts["kind"], _target(facts), "in", _run(facts)]


def _outcome(record: dict[str, Any]) -> list[Any]:
    facts = record["facts"]
    about = f"of {record['intent']}" if facts is None else _target(facts)
    return [record["state"], record["code"], about, record["detail"]]


def _run_opened(record: dict[str, Any]) -> list[Any]:
    under = [] if record["parent"] is None else ["under", record["parent"]]
    return [record["run"], *under, "for", record["workload"], "by", record["author"]]


def _intent_added(record: dict[str, Any]) -> list[Any]:
    return [record["run"], "by", record["author"]]


def _run_ended(record: dict[str, Any]) -> list[Any]:
    return [record["run"], record["state"], "by", record["author"], record["reason"]]


def _label_raised(record: dict[str, Any]) -> list[Any]:
    return [record["run"], record["label"], "because of", record["source"]]


def _revoked(record: dict[str, Any]) -> list[Any]:
    scope = record["scope"]
    verb = "lifted" if record["lifts"] else "revoked"
    return [verb, scope["kind"], scope["id"], "by", record["author"], record["reason"]]


def _impact(record: dict[str, Any]) -> list[Any]:
    return [record["revocation"], "cut", str(len(record["cut"]))]


def _changed(record: dict[str, Any]) -> list[Any]:
    return [record["what"], "by", record["author"]]


def _observed(record: dict[str, Any]) -> list[Any]:
    return [record["what"], record["subject"]]


def _found(record: dict[str, Any]) -> list[Any]:
    finding = record["finding"]
    about = finding["run"] or finding["workload"]
    return [finding["detector"], "says of", f"{about}:", finding["seen"]]


def _responded(record: dict[str, Any]) -> list[Any]:
    held = record["response"]
    scope = f"{held['scope']['kind']} {held['scope']['id']}"
    if held["lifts"]:
        return [held["lifts"], "of", scope, "lifted by", held["author"], held["reason"]]
    level = f"{held['level']} (observed)" if held["observed"] else held["level"]
    return [level, "for", scope, "by", held["author"], held["reason"]]


def _issued(record: dict[str, Any]) -> list[Any]:
    within = [] if record["run"] is None else ["in", record["run"]]
    return [record["what"], "for", record["subject"], *within, "by", record["proof"]]


def _lease(record: dict[str, Any]) -> list[Any]:
    stuck = "(stuck)" if record["stuck"] else ""
    of = [record["credential"], "in", record["run"]]
    return [record["lease"], record["state"], stuck, "of", *of, record["reason"]]


def _started(record: dict[str, Any]) -> list[Any]:
    return ["Midflight", record["version"], "with policies", record["policy"][:12]]


def _approval_asked(record: dict[str, Any]) -> list[Any]:
    who = ", ".join(record["approvers"])
    return [record["approval"], f"{record['upstream']}/{record['name']}", "asks", who]


def _approval_answered(record: dict[str, Any]) -> list[Any]:
    return [record["approval"], "yes" if record["yes"] else "no", "by", record["author"]]


def _approval_ended(record: dict[str, Any]) -> list[Any]:
    return [record["approval"], record["state"], record["reason"]]


def _notified(record: dict[str, Any]) -> list[Any]:
    how = ", ".join(record["channels"]) or record["error"]
    return [record["subject"], "told" if record["channels"] else "not told", record["contact"], how]


def _acknowledged(record: dict[str, Any]) -> list[Any]:
    return [record["subject"], "acknowledged by", record["author"]]


def _unknown(record: dict[str, Any]) -> list[Any]:
    del record
    return []


def _target(facts: dict[str, Any]) -> str:
    return f"{facts['upstream']}/{facts['name']}"


def _run(facts: dict[str, Any]) -> str:
    run: dict[str, Any] | None = facts["run"]
    return "no run" if run is None else str(run["id"])


_WORDS: dict[str, Callable[[dict[str, Any]], list[Any]]] = {
    "intent": _intent,
    "outcome": _outcome,
    "run_opened": _run_opened,
    "intent_added": _intent_added,
    "run_ended": _run_ended,
    "label_raised": _label_raised,
    "revoked": _revoked,
    "impact": _impact,
    "changed": _changed,
    "observed": _observed,
    "found": _found,
    "responded": _responded,
    "issued": _issued,
    "lease": _lease,
    "started": _started,
    "approval_asked": _approval_asked,
    "approval_answered": _approval_answered,
    "approval_ended": _approval_ended,
    "notified": _notified,
    "acknowledged": _acknowledged,
}

KINDS = frozenset(_WORDS)
"""The kinds of records that there are words for."""

__all__ = ["KINDS", "summary"]
