"""OpenTelemetry spans for actions that somebody will look at: slow, refused, challenged, failed.

A span costs 9-80 µs even when it is sampled off, so an ordinary action makes none; counters have
it. A span is made when the action has ended, with the times it had. It carries names and codes,
never arguments. Without an endpoint nothing is imported, started or sent.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from midflight.domain.errors import Misconfigured
from midflight.domain.records import Terminal
from midflight.wire.export.conventions import conventional, span_name

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

SLOW_S: Final = 1.0
"""From how many seconds on an action is slow."""

MAX_NAME: Final = 256
"""Characters of a name in a span."""

_PATH: Final = "/v1/traces"
_TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_QUIET_STATES = frozenset({Terminal.DONE.value, Terminal.CANCELLED.value})


class Tracing:
    """Makes spans, or does nothing. Made by `configure`."""

    def __init__(self, provider: TracerProvider | None, *, slow_s: float = SLOW_S) -> None:
        """Spans go to `provider`, which `close` shuts down; None makes no spans."""
        self._provider = provider
        self._slow_s = slow_s
        self._tracer: Tracer | None = None if provider is None else provider.get_tracer("midflight")

    @classmethod
    def configure(
        cls, endpoint: str | None, service_version: str, *, slow_s: float = SLOW_S
    ) -> Tracing:
        """Spans by OTLP over HTTP to `endpoint` (`http://127.0.0.1:4318`), or no-op for None.

        Headers for the collector come from `OTEL_EXPORTER_OTLP_HEADERS`, never from the settings.

        Raises:
            Misconfigured: `endpoint` is no HTTP address, or holds credentials.
        """
        if endpoint is None:
            return cls(None)
        target = _target(endpoint)
        # A tenth of a second and 20 MB that only those pay who want traces.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 -- only with an endpoint
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 -- only with an endpoint
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 -- only with an endpoint
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 -- only with an endpoint

        resource = Resource.create(
            {"service.name": "midflight", "service.version": service_version}
        )
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=target)))
        return cls(provider, slow_s=slow_s)

    @property
    def active(self) -> bool:
        """Whether spans are made at all."""
        return self._tracer is not None

    def action(
        self,
        *,
        kind: str,
        upstream: str,
        name: str,
        state: str,
        ended_at: float,
        seconds: float,
        code: str = "",
        challenged: bool = False,
        record: str = "",
        run: str = "",
        workload: str = "",
        method: str = "",
        traceparent: str = "",
    ) -> None:
        """One action ended at `ended_at` (Unix seconds) after `seconds`; a span if it is worth one.

        `traceparent` is the caller's (W3C Trace Context), which joins the span to its trace; it
        names, it proves nothing.
        """
        tracer = self._tracer
        if tracer is None:
            return
        if seconds < self._slow_s and state in _QUIET_STATES and not code and not challenged:
            return
        self._span(
            tracer,
            span_name(method, name[:MAX_NAME]) or f"{kind} {upstream}",
            (ended_at - seconds, ended_at),
            {
                **conventional(
                    method=method,
                    name=name[:MAX_NAME],
                    upstream=upstream,
                    workload=workload,
                    run=run,
                    error=code or ("" if state in _QUIET_STATES else state),
                ),
                "midflight.kind": kind,
                "midflight.upstream": upstream,
                "midflight.name": name[:MAX_NAME],
                "midflight.state": state,
                "midflight.code": code,
                "midflight.challenged": challenged,
                "midflight.record": record,
                "midflight.run": run,
                "midflight.workload": workload,
            },
            traceparent,
        )

    def close(self) -> None:
        """Send what is left, and stop. Blocks up to some seconds; call it in a thread."""
        if self._provider is not None:
            self._provider.shutdown()
            self._tracer = self._provider = None

    def _span(
        self,
        tracer: Tracer,
        title: str,
        times: tuple[float, float],
        attributes: dict[str, str | bool],
        traceparent: str,
    ) -> None:
        from opentelemetry.trace import SpanKind, Status, StatusCode  # noqa: PLC0415 -- only with an endpoint
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415 -- only with an endpoint
            TraceContextTextMapPropagator,
        )

        known = _TRACEPARENT.fullmatch(traceparent) is not None
        carrier = {"traceparent": traceparent} if known else {}
        began, ended = (int(time * 1e9) for time in times)
        span = tracer.start_span(
            title,
            context=TraceContextTextMapPropagator().extract(carrier),
            kind=SpanKind.SERVER,
            attributes={key: value for key, value in attributes.items() if value != ""},
            start_time=began,
        )
        if attributes["midflight.state"] not in _QUIET_STATES:
            span.set_status(Status(StatusCode.ERROR, str(attributes["midflight.code"])))
        span.end(ended)


def _target(endpoint: str) -> str:
    parts = urlsplit(endpoint)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise Misconfigured(
            "The tracing endpoint is not an HTTP address.", hint="Such as http://127.0.0.1:4318"
        )
    if parts.username is not None or parts.password is not None:
        raise Misconfigured(
            "The tracing endpoint holds credentials.",
            hint="Put them into OTEL_EXPORTER_OTLP_HEADERS.",
        )
    return endpoint if parts.path.endswith(_PATH) else endpoint.rstrip("/") + _PATH


__all__ = ["SLOW_S", "Tracing"]
