r"""Events of CEF 0 (ArcSight Common Event Format, revision 27): one line a record.

    CEF:0|Midflight|Midflight|0.1|outcome.denied|Action refused|4|rt=… externalId=… …

In the header `\` and `|` are escaped, in the extension `\`, `=` and line breaks. Nothing that a
caller or an upstream said can begin a field or a line of its own.
"""

from __future__ import annotations

from midflight import __version__
from midflight.wire.export.sayings import Severity
from midflight.wire.export.telling import Told

_SEVERITIES = {
    Severity.INFORMATIONAL: 1,
    Severity.LOW: 4,
    Severity.MEDIUM: 6,
    Severity.HIGH: 8,
    Severity.CRITICAL: 10,
}
_MAX_REASON = 1_023
"""Characters of `msg` and `reason`, by the format."""


def line(told: Told) -> str:
    """The event of what is told, without a line break. Never raises."""
    signature = f"{told.kind}.{told.state}" if told.state else told.kind
    header = "|".join(
        _header(part)
        for part in (
            "CEF:0",
            "Midflight",
            "Midflight",
            __version__,
            signature,
            told.title,
            str(_SEVERITIES[told.severity]),
        )
    )
    outcome = {True: "success", False: "failure", None: ""}[told.succeeded]
    fields = {
        "rt": str(int(told.at * 1_000)),
        "externalId": told.record,
        "cat": told.kind,
        "outcome": outcome,
        "act": told.state,
        "reason": (f"{told.code}: {told.reason}" if told.code else told.reason)[:_MAX_REASON],
        "msg": told.message[:_MAX_REASON],
        "suid": told.workload,
        "suser": told.author or told.owner,
        "shost": told.peer,
        "destinationServiceName": told.upstream,
        "request": told.name,
        "requestMethod": told.method,
        "cn1": str(told.position),
        "cn1Label": "position",
        "out": str(told.details.get("bytes_out") or ""),
        "in": str(told.details.get("bytes_in") or ""),
    }
    strings = (
        ("run", told.run),
        ("policies", " ".join(told.policies)),
        ("effect", told.effect),
        ("labels", str(told.details.get("labels") or "")),
        ("subject", told.subject),
        ("proof", told.proof),
    )
    for number, (label, value) in enumerate(strings, 1):
        if value:
            fields[f"cs{number}"] = value
            fields[f"cs{number}Label"] = label
    extension = " ".join(f"{name}={_extension(value)}" for name, value in fields.items() if value)
    return f"{header}|{extension}"


def _visible(text: str) -> str:
    """Control characters other than line breaks are spaces: a collector cuts lines at some."""
    return "".join(c if c.isprintable() or c in "\r\n" else " " for c in text)


def _header(text: str) -> str:
    flat = " ".join(_visible(text).split())
    return flat.replace("\\", "\\\\").replace("|", "\\|")


def _extension(text: str) -> str:
    shown = _visible(text).replace("\\", "\\\\").replace("=", "\\=")
    return shown.replace("\r\n", "\\n").replace("\n", "\\n").replace("\r", "\\n")


__all__ = ["line"]
