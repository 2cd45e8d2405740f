"""Events to an OpenTelemetry collector, as log records by OTLP over HTTP.

The SDK's own exporter queues in memory and drops when its queue is full; here the ledger is the
queue, so a batch is sent and answered before the next one. Headers for the collector come from
`OTEL_EXPORTER_OTLP_HEADERS`, as for spans, never from the settings. Sent over an address that was
looked at first (`documents/exchange.py`): the operator's own network is in reach, and what serves
credentials of machines is not.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import ssl
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from urllib.parse import unquote

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

from midflight.adapters.documents.exchange import Exchange, NotAsked, Reach, Resolve
from midflight.adapters.export.telling import told
from midflight.domain.errors import Unavailable, UpstreamBroken
from midflight.services.ports.export import Exportable
from midflight.wire.export import otel

PATH = "/v1/logs"
TIMEOUT_S = 10.0
MAX_ANSWER = 65_536
"""Bytes of an answer that are read."""
_OWN = Reach(private=True, loopback=True)


class OtlpSink:
    """See the module."""

    def __init__(
        self,
        endpoint: str,
        *,
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        resolve: Resolve | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """`endpoint` such as `http://127.0.0.1:4318`; `headers` instead of the environment's.

        `timeout_s` is for one batch, from looking up the name to the end of the answer.
        """
        self._url = endpoint if endpoint.endswith(PATH) else endpoint.rstrip("/") + PATH
        self._headers = [
            ("content-type", "application/x-protobuf"),
            ("content-encoding", "gzip"),
            *(environment_headers() if headers is None else headers).items(),
        ]
        self._exchange = Exchange(tls=tls, resolve=resolve, timeout_s=timeout_s)
        self._timeout = timeout_s

    async def send(self, batch: Sequence[Exportable], *, now: float) -> None:
        """Send a batch and wait for the answer."""
        body = await asyncio.to_thread(_body, batch, now)
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._exchange.asked(
                    "POST",
                    self._url,
                    limit=MAX_ANSWER,
                    reach=_OWN,
                    headers=self._headers,
                    body=body,
                ) as answer,
            ):
                status = answer.status
                said = await answer.read()
        except NotAsked as refusal:
            raise Unavailable(
                f"The address of the OpenTelemetry collector {refusal}.",
                hint="Look at otlp in midflight.toml, and at what its name resolves to.",
            ) from None
        except (OSError, TimeoutError, UnicodeError, UpstreamBroken) as error:
            raise Unavailable(
                f"The OpenTelemetry collector does not answer ({type(error).__name__})."
            ) from error
        if status != HTTPStatus.OK:
            raise Unavailable(
                f"The OpenTelemetry collector answers {status}.",
                hint="Look at its log, and at OTEL_EXPORTER_OTLP_HEADERS.",
            )
        rejected = _rejected(said)
        if rejected:
            raise Unavailable(
                f"The OpenTelemetry collector did not take {rejected} of {len(batch)} events."
            )

    async def close(self) -> None:
        """Nothing is open: each batch has a connection of its own."""


def environment_headers() -> dict[str, str]:
    """Headers of `OTEL_EXPORTER_OTLP_HEADERS` (`name=value,name=value`, values URL-encoded)."""
    found: dict[str, str] = {}
    for pair in os.environ.get("OTEL_EXPORTER_OTLP_HEADERS", "").split(","):
        name, separator, value = pair.partition("=")
        if separator and name.strip():
            found[name.strip().lower()] = unquote(value.strip())
    return found


def _body(batch: Sequence[Exportable], now: float) -> bytes:
    records = [otel.log_record(event) for event in told(batch, now=now)]
    return gzip.compress(otel.request(records), compresslevel=1)


def _rejected(said: bytes) -> int:
    try:
        answer = ExportLogsServiceResponse.FromString(said)
    except DecodeError:
        return 0  # some collectors answer with JSON, and 200 says that they took it
    return answer.partial_success.rejected_log_records


__all__ = ["OtlpSink", "environment_headers"]
