"""Events of OCSF 1.8 (schema.ocsf.io): one JSON object a record.

| records | class |
|---|---|
| outcomes of actions | API Activity (6003), with the profile `security_control` |
| findings, what was observed, damage | Detection Finding (2004) |
| revocations and what they cut | Remediation Activity (7001) |
| identity documents and tokens | Authentication (3002) |
| a start | Application Lifecycle (6002) |
| everything else: runs, approvals, leases, changes | Entity Management (3004) |

`metadata.uid` is the record id, by which who gets an event twice knows it again.
"""

from __future__ import annotations

from midflight import __version__
from midflight.domain.value import JSONObject
from midflight.wire.export.sayings import Severity
from midflight.wire.export.telling import Told

VERSION = "1.8.0"

API_ACTIVITY, DETECTION_FINDING, REMEDIATION = 6003, 2004, 7001
AUTHENTICATION, LIFECYCLE, ENTITY = 3002, 6002, 3004
OTHER = 99

_EFFECTS = {"read": 2, "write": 3, "delete": 4}
_DISPOSITIONS = {
    # (action_id, disposition_id); "Access Revoked" 24, "Challenge" 23, "Blocked" 2, "Error" 27
    "done": (1, 1),
    "failed": (1, 1),
    "denied": (2, 2),
    "expired": (2, 2),
    "interrupted": (2, 24),
    "cancelled": (1, 1),
    "unknown": (0, 0),
}
_SERVICE_USER = 4
"""`user.type_id` Service."""
_TICKET = 3
"""`authentication.activity_id` Authentication Ticket."""


def event(told: Told) -> JSONObject:
    """The OCSF event of what is told. Never raises."""
    match told.kind:
        case "outcome":
            return _api_activity(told)
        case "found" | "observed" | "damaged":
            return _finding(told)
        case "revoked" | "impact" | "responded":
            return _remediation(told)
        case "issued":
            return _authentication(told)
        case "started":
            return _lifecycle(told)
        case _:
            return _entity(told)


def _base(told: Told, class_uid: int, activity: int, activity_name: str = "") -> JSONObject:
    """What every class has. The category is the thousands of the class."""
    found: JSONObject = {
        "activity_id": activity,
        "category_uid": class_uid // 1_000,
        "class_uid": class_uid,
        "type_uid": class_uid * 100 + activity,
        "severity_id": int(told.severity),
        "time": int(told.at * 1_000),
        "message": told.message,
        "metadata": {
            "version": VERSION,
            "product": {"name": "Midflight", "vendor_name": "Midflight", "version": __version__},
            "uid": told.record or f"position-{told.position}",
            "event_code": told.kind,
            "log_name": "ledger",
            "sequence": told.position,
        },
        # No member of a record takes the place of what every event says.
        "unmapped": {
            **{name: each for name, each in told.details.items() if each != ""},
            **{
                name: each
                for name, each in (
                    ("title", told.title),
                    ("run", told.run),
                    ("owner", told.owner),
                    ("author", told.author),
                    ("proof", told.proof),
                )
                if each
            },
        },
    }
    if activity == OTHER:
        found["activity_name"] = activity_name or told.title
    if told.run:
        found["metadata"]["correlation_uid"] = told.run
    if told.succeeded is not None:
        found["status_id"] = 1 if told.succeeded else 2
    if told.reason:
        found["status_detail"] = told.reason
    if told.code:
        found["status_code"] = told.code
    return found


def _actor(told: Told) -> JSONObject:
    """Who acts: the workload, or the person or part that did it."""
    if told.workload:
        actor: JSONObject = {"user": {"uid": told.workload, "type_id": _SERVICE_USER}}
    else:
        actor = {"user": {"name": told.author or "midflight"}}
    if told.run:
        actor["session"] = {"uid": told.run}
    return actor


def _api_activity(told: Told) -> JSONObject:
    action, disposition = _DISPOSITIONS.get(told.state, (0, 0))
    if told.code == "approval_required":
        disposition = 23
    elif told.code == "revoked":
        disposition = 24
    found = _base(told, API_ACTIVITY, _EFFECTS.get(told.effect, OTHER), told.effect or "unknown")
    found["metadata"]["profiles"] = ["security_control"]
    found |= {
        "actor": _actor(told),
        "api": {
            "operation": told.name or told.method or "unknown",
            "request": {"uid": str(told.details.get("intent") or told.record)},
        },
        "src_endpoint": {"name": told.peer or "unknown"},
        "action_id": action,
        "disposition_id": disposition,
    }
    if told.upstream:
        found["api"]["service"] = {"name": told.upstream}
        found["dst_endpoint"] = {"svc_name": told.upstream}
        found["resources"] = [{"name": f"{told.upstream}/{told.name}", "type": "tool"}]
    if told.code:
        found["api"]["response"] = {"error": told.code, "error_message": told.reason}
    if told.policies:
        decision = "allow" if action == 1 else "deny"
        found["authorizations"] = [
            {"decision": decision, "policy": {"uid": policy}} for policy in told.policies
        ]
    return found


def _finding(told: Told) -> JSONObject:
    found = _base(told, DETECTION_FINDING, 1)
    detector = str(told.details.get("detector") or told.details.get("what") or told.kind)
    found |= {
        "finding_info": {
            "uid": told.subject or told.record or f"position-{told.position}",
            "title": told.title,
            "desc": told.message,
            "analytic": {"type_id": 1, "name": detector},
            "created_time": int(told.at * 1_000),
        },
        "is_alert": told.severity >= Severity.MEDIUM,
    }
    named = [
        {"uid": each, "type": kind}
        for kind, each in (
            ("workload", told.workload),
            ("run", told.run),
            ("tool", f"{told.upstream}/{told.name}" if told.name else told.upstream),
        )
        if each
    ]
    if named:
        found["resources"] = named
    return found


def _remediation(told: Told) -> JSONObject:
    # Isolate 1, Evict 2, Restore 3
    response: JSONObject = told.details.get("response") or told.details
    lifted = bool(response.get("lifts"))
    activity = 3 if lifted else 2 if told.kind == "impact" else 1
    found = _base(told, REMEDIATION, activity)
    found["command_uid"] = told.subject or told.record
    return found


def _authentication(told: Told) -> JSONObject:
    found = _base(told, AUTHENTICATION, _TICKET)
    found |= {
        "user": {"uid": told.workload or "unknown", "type_id": _SERVICE_USER},
        "service": {"name": "midflight"},
        "actor": _actor(told),
    }
    if told.run:
        found["session"] = {"uid": told.run}
    return found


def _lifecycle(told: Told) -> JSONObject:
    found = _base(told, LIFECYCLE, 3)
    found["app"] = {"name": "Midflight", "vendor_name": "Midflight", "version": __version__}
    return found


_ENTITY = {
    # kind → (activity_id, what the entity is)
    "run_opened": (1, "run"),
    "run_ended": (11, "run"),
    "intent_added": (3, "run"),
    "label_raised": (3, "run"),
    "approval_asked": (1, "approval"),
    "approval_answered": (3, "approval"),
    "approval_ended": (11, "approval"),
    "lease": (3, "lease"),
    "changed": (3, "setting"),
    "notified": (1, "notice"),
    "acknowledged": (3, "notice"),
}


def _entity(told: Told) -> JSONObject:
    activity, kind = _ENTITY.get(told.kind, (OTHER, told.kind))
    found = _base(told, ENTITY, activity)
    found["actor"] = _actor(told) if not told.author else {"user": {"name": told.author}}
    found["entity"] = {"uid": told.subject or told.run or told.record or "unknown", "type": kind}
    return found


__all__ = ["VERSION", "event"]
