"""Events as OpenTelemetry log records, by the conventions for MCP and generative AI.

An event has a name (`midflight.outcome`), a body for people, and attributes: `mcp.*`, `gen_ai.*`
and `error.type` where the conventions have one (semantic-conventions, docs/gen-ai/mcp.md, status
Development), `midflight.*` for the rest. No argument and no result is among them.
"""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    KeyValue,
    KeyValueList,
)
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from midflight import __version__
from midflight.domain.value import JSON
from midflight.wire.export.conventions import conventional
from midflight.wire.export.sayings import Severity
from midflight.wire.export.telling import Told

# Severity numbers of the data model: INFO 9, INFO2 10, WARN 13, ERROR 17, FATAL 21.
_SEVERITIES = {
    Severity.INFORMATIONAL: (9, "INFO"),
    Severity.LOW: (10, "INFO2"),
    Severity.MEDIUM: (13, "WARN"),
    Severity.HIGH: (17, "ERROR"),
    Severity.CRITICAL: (21, "FATAL"),
}


def log_record(told: Told) -> LogRecord:
    """The log record of what is told. Never raises."""
    number, text = _SEVERITIES[told.severity]
    own: dict[str, JSON] = {
        **conventional(
            method=told.method,
            name=told.name,
            upstream=told.upstream,
            workload=told.workload,
            run=told.run,
            error=told.code or (told.state if told.succeeded is False else ""),
        ),
        "midflight.record": told.record,
        "midflight.position": told.position,
        "midflight.kind": told.kind,
        "midflight.state": told.state,
        "midflight.effect": told.effect,
        "midflight.owner": told.owner,
        "midflight.author": told.author,
        "midflight.proof": told.proof,
        "midflight.subject": told.subject,
        "midflight.reason": told.reason,
        "midflight.policies": list(told.policies),
    }
    # No member of a record takes the place of what every event says.
    attributes: dict[str, JSON] = {
        **{f"midflight.{name}": each for name, each in told.details.items()},
        **{name: each for name, each in own.items() if each not in ("", [])},
    }
    return LogRecord(
        time_unix_nano=int(told.at * 1e9),
        observed_time_unix_nano=int(told.at * 1e9),
        severity_number=number,  # pyright: ignore[reportArgumentType] -- an open enum is an int
        severity_text=text,
        event_name=f"midflight.{told.kind}",
        body=AnyValue(string_value=told.message),
        attributes=[
            KeyValue(key=key, value=_value(each))
            for key, each in attributes.items()
            if each not in ("", [], None)
        ],
    )


def request(records: Sequence[LogRecord]) -> bytes:
    """The body of one export (OTLP 1.x, `POST /v1/logs`)."""
    made = ExportLogsServiceRequest()
    resource = made.resource_logs.add()
    for key, value in (("service.name", "midflight"), ("service.version", __version__)):
        resource.resource.attributes.append(KeyValue(key=key, value=AnyValue(string_value=value)))
    scope = resource.scope_logs.add()
    scope.scope.name = "midflight"
    scope.log_records.extend(records)
    return made.SerializeToString()


def _value(value: JSON) -> AnyValue:
    made = AnyValue()
    match value:
        case None:
            pass
        case bool():
            made.bool_value = value
        case int() if -(2**63) <= value < 2**63:
            made.int_value = value
        case float():
            made.double_value = value
        case list():
            made.array_value.CopyFrom(ArrayValue(values=[_value(each) for each in value]))
        case dict():
            pairs = [KeyValue(key=str(key), value=_value(each)) for key, each in value.items()]
            made.kvlist_value.CopyFrom(KeyValueList(values=pairs))
        case _:
            made.string_value = str(value)
    return made


__all__ = ["log_record", "request"]
