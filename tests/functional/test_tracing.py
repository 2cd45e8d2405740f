"""Spans reach a collector over OTLP, for what is refused or slow and for nothing else."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from servers.sdk_server import Served, over_http

pytestmark = pytest.mark.anyio


class Collector(ThreadingHTTPServer):
    """What an OpenTelemetry collector does with traces: takes them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.spans: list[Any] = []


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                self.server.spans.extend(scope.spans)  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


async def test_a_refused_call_is_a_span_and_a_permitted_one_is_not(gateway_factory: Any) -> None:
    collector = Collector()
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{collector.server_port}"
    policy = (
        '@id("all") permit(principal, action, resource);\n'
        '@id("no-tell") forbid(principal, action == Action::"call_tool::one/tell", resource);\n'
    )
    async with over_http(Served()) as url:
        entry = {"name": "one", "url": url, "reach": "closed"}
        telemetry = {"otlp_endpoint": endpoint}
        async with gateway_factory([entry], policy=policy, telemetry=telemetry) as gateway:
            await gateway.pin_all()
            async with gateway.client() as client:
                await client.call_tool("add", {"a": 1, "b": 2})
                refused = await client.call_tool("tell", {"steps": 1})
                assert refused.is_error
    collector.shutdown()
    collector.server_close()
    (span,) = collector.spans
    attributes = {a.key: a.value.string_value for a in span.attributes}
    assert span.name == "tools/call tell"
    assert attributes["mcp.method.name"] == "tools/call"
    assert attributes["gen_ai.operation.name"] == "execute_tool"
    assert attributes["gen_ai.tool.name"] == "tell"
    assert attributes["gen_ai.agent.id"].startswith("spiffe://")
    assert attributes["gen_ai.conversation.id"] == attributes["midflight.run"]
    assert attributes["error.type"] == "policy"
    assert attributes["midflight.code"] == "policy"
    assert attributes["midflight.name"] == "tell"
    assert attributes["midflight.record"]
