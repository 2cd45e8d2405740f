from __future__ import annotations

import http.server
import io
import json
import logging
import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from midflight.adapters.telemetry import logs
from midflight.adapters.telemetry.prometheus import OTHER, PrometheusTelemetry
from midflight.adapters.telemetry.quiet import QuietTelemetry
from midflight.adapters.telemetry.tracing import Tracing
from midflight.domain.action import ActionKind
from midflight.domain.decision import DenyCode
from midflight.domain.errors import Misconfigured
from midflight.domain.records import Terminal
from midflight.services.ports.telemetry import Telemetry

# Metrics


def samples(telemetry: PrometheusTelemetry) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample, read back by Prometheus' own parser."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(telemetry.exposition().decode())
        for sample in family.samples
    }


def actions(telemetry: PrometheusTelemetry) -> dict[tuple[str, ...], float]:
    return {
        tuple(dict(labels)[name] for name in ("kind", "upstream", "state", "code")): value
        for (sample, labels), value in samples(telemetry).items()
        if sample == "midflight_actions_total"
    }


def told(telemetry: Telemetry, **changed: Any) -> None:
    values = {
        "kind": "call_tool",
        "upstream": "mail",
        "state": "done",
        "code": "",
        "seconds": 0.003,
    }
    telemetry.action(**(values | changed))


def test_actions_are_counted_by_kind_upstream_state_and_code() -> None:
    telemetry = PrometheusTelemetry(["mail"])
    told(telemetry)
    told(telemetry)
    told(telemetry, state="denied", code="policy")
    assert actions(telemetry) == {
        ("call_tool", "mail", "done", ""): 2,
        ("call_tool", "mail", "denied", "policy"): 1,
    }


@given(seconds=st.lists(st.floats(0, 1_000), max_size=50))
def test_a_histogram_counts_each_duration_at_its_bounds(seconds: list[float]) -> None:
    telemetry = PrometheusTelemetry(["mail"])
    for one in seconds:
        told(telemetry, seconds=one)
        telemetry.decided(seconds=one)
    found = samples(telemetry)
    for name, needed in (
        ("midflight_action_seconds", {("kind", "call_tool")}),
        ("midflight_decision_seconds", set()),
    ):
        if name == "midflight_action_seconds" and not seconds:
            continue
        for (sample, labels), value in found.items():
            if sample == f"{name}_bucket":
                bound = float(dict(labels)["le"])
                assert value == sum(one <= bound for one in seconds)
        assert found[(f"{name}_count", frozenset(needed))] == len(seconds)
        assert found[(f"{name}_sum", frozenset(needed))] == pytest.approx(sum(seconds))


def test_every_value_that_the_domain_knows_is_counted_as_itself() -> None:
    telemetry = PrometheusTelemetry()
    for kind in ActionKind:
        told(telemetry, kind=kind.value)
    for state in Terminal:
        told(telemetry, state=state.value)
    for code in DenyCode:
        told(telemetry, code=code.value)
    assert not any(OTHER in labels for labels in actions(telemetry))


def test_labels_do_not_grow_with_what_strangers_send() -> None:
    telemetry = PrometheusTelemetry(["mail"])
    for at in range(2_000):
        told(telemetry, kind=f"k{at}", upstream=f"u{at}", state=f"s{at}", code=f"c{at}")
        telemetry.count(f"n{at}")
        telemetry.gauge(f"g{at}", at)
    assert len(actions(telemetry)) <= 501
    assert sum(actions(telemetry).values()) == 2_000
    assert (OTHER, OTHER, OTHER, OTHER) in actions(telemetry)
    assert len(telemetry._slots) <= 501
    assert len(samples(telemetry)) < 1_000
    told(telemetry)
    assert actions(telemetry)[("call_tool", "mail", "done", "")] == 1


def test_an_upstream_s_name_cannot_forge_a_line() -> None:
    telemetry = PrometheusTelemetry()
    told(telemetry, upstream='x"} 1\nmidflight_actions_total{kind="forged')
    assert [labels[1] for labels in actions(telemetry)] == [
        'x"} 1\nmidflight_actions_total{kind="forged'
    ]


def test_gauges_and_counters_are_named_by_those_who_tell_them() -> None:
    telemetry = PrometheusTelemetry(version="1.2.3")
    telemetry.gauge("flights", 2)
    telemetry.gauge("flights", 1)
    telemetry.count("malformed")
    telemetry.count("malformed", 4)
    telemetry.count("Bad Name\n", 1)
    found = samples(telemetry)
    assert found[("midflight_flights", frozenset())] == 1
    assert found[("midflight_malformed_total", frozenset())] == 5
    assert found[("midflight_info", frozenset({("version", "1.2.3")}))] == 1
    assert not any("Bad" in name for name, _ in found)


def test_two_telemetries_do_not_share_a_registry() -> None:
    one, other = PrometheusTelemetry(), PrometheusTelemetry()
    one.count("malformed")
    assert ("midflight_malformed_total", frozenset()) not in samples(other)


def test_quiet_telemetry_keeps_what_it_is_told() -> None:
    telemetry = QuietTelemetry()
    told(telemetry, code="policy")
    telemetry.decided(seconds=0.5)
    telemetry.gauge("runs", 3)
    telemetry.count("malformed", 2)
    assert [(one.kind, one.code) for one in telemetry.actions] == [("call_tool", "policy")]
    assert (telemetry.decisions, telemetry.gauges, telemetry.counts) == (
        [0.5],
        {"runs": 3},
        {"malformed": 2},
    )


# Spans


class Collector:
    """A real OTLP/HTTP endpoint on loopback."""

    def __init__(self) -> None:
        self.got: queue.Queue[tuple[str, ExportTraceServiceRequest]] = queue.Queue()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    raise AssertionError("not expected")
                message = ExportTraceServiceRequest()
                message.ParseFromString(body)
                outer.got.put((self.path, message))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None: ...

        self._server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def spans(self) -> list[Any]:
        """The spans of everything received so far."""
        found: list[Any] = []
        while not self.got.empty():
            path, message = self.got.get()
            assert path == "/v1/traces"
            found += [
                span
                for resource in message.resource_spans
                for scope in resource.scope_spans
                for span in scope.spans
            ]
        return found

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


def ended(tracing: Tracing, **changed: Any) -> None:
    values: dict[str, Any] = {
        "kind": "call_tool",
        "upstream": "mail",
        "name": "send",
        "state": "done",
        "ended_at": 1_000.5,
        "seconds": 0.25,
    }
    tracing.action(**(values | changed))


def test_only_what_is_slow_refused_challenged_or_failed_gets_a_span(collector: Collector) -> None:
    tracing = Tracing.configure(collector.endpoint, "1.2.3", slow_s=1.0)
    ended(tracing, name="ordinary")
    ended(tracing, name="cancelled by the caller", state="cancelled")
    ended(tracing, name="slow", seconds=1.0)
    ended(tracing, name="denied", state="denied", code="policy", record="rec_1")
    ended(tracing, name="failed", state="failed")
    ended(tracing, name="interrupted", state="interrupted", code="revoked")
    ended(tracing, name="challenged", challenged=True)
    tracing.close()
    spans = {
        {one.key: one.value for one in span.attributes}["midflight.name"].string_value: span
        for span in collector.spans()
    }
    assert set(spans) == {"slow", "denied", "failed", "interrupted", "challenged"}
    assert spans["slow"].start_time_unix_nano == 999_500_000_000
    assert spans["slow"].end_time_unix_nano == 1_000_500_000_000
    assert spans["denied"].name == "call_tool mail"
    assert (spans["denied"].status.code, spans["slow"].status.code) == (2, 0)


def test_a_span_joins_the_caller_s_trace_if_there_is_one(collector: Collector) -> None:
    tracing = Tracing.configure(collector.endpoint + "/", "1.2.3", slow_s=0.0)
    parent = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    ended(tracing, name="joined", traceparent=parent)
    ended(tracing, name="not sampled there", traceparent=parent[:-1] + "0")
    ended(tracing, name="forged", traceparent="00-zz\r\nx: y")
    tracing.close()
    found = {
        {one.key: one.value for one in span.attributes}["midflight.name"].string_value: span
        for span in collector.spans()
    }
    assert found["joined"].trace_id.hex() == "a" * 32
    assert found["joined"].parent_span_id.hex() == "b" * 16
    assert found["forged"].parent_span_id == b""
    assert "not sampled there" not in found


def test_without_an_endpoint_nothing_happens() -> None:
    tracing = Tracing.configure(None, "1.2.3")
    assert not tracing.active
    ended(tracing, state="denied", code="policy")
    tracing.close()
    tracing.close()


@pytest.mark.parametrize(
    "endpoint", ["", "collector:4318", "ftp://a", "http://", "http://user:word@collector:4318"]
)
def test_an_endpoint_that_is_no_address_or_holds_credentials_is_refused(endpoint: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        Tracing.configure(endpoint, "1.2.3")
    assert "word" not in str(caught.value)


# Log lines


class Terminal80(io.StringIO):
    def isatty(self) -> bool:
        return True


SECRETS = [
    "Bearer abcdefghijklmnop",
    "DPoP eyJhbGciOiJFUzI1NiJ9.eyJqdGkiOiJ4In0.c2lnbmF0dXJl",
    "eyJhbGciOiJFUzI1NiJ9.eyJqdGkiOiJ4In0.c2lnbmF0dXJl",
    "basic dXNlcjpwYXNzd29yZA==",
    "AKIAIOSFODNN7EXAMPLE",
    "ghp_0123456789abcdefghij0123456789abcdef",
    "sk-proj-0123456789abcdefghij",
    "xoxb-0123456789-abcdefghij",
    "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----",
    "-----BEGIN EC PRIVATE KEY-----\nMIIB",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_what_looks_like_a_secret_is_in_no_line(secret: str) -> None:
    out = io.StringIO()
    logs.configure(form="json", stream=out)
    log = structlog.get_logger("midflight.test")
    said = f"it said {secret}"
    log.info(said, nested={"deep": [secret, (secret,)]}, **{secret[:8]: secret})
    logging.getLogger("library").warning("from a library: %s", secret)
    try:
        raise ValueError(secret)  # noqa: TRY301 # a traceback is wanted
    except ValueError:
        log.exception("broken")
    text = out.getvalue()
    # The part that is secret, not the scheme in front of it.
    assert secret.rpartition(" ")[2] not in json.dumps(
        [json.loads(line) for line in text.splitlines()]
    )
    assert "MIIB" not in text
    assert logs.REDACTED in text
    assert "it said" in text


@pytest.mark.parametrize(
    "key",
    ["authorization", "Authorization", "Set-Cookie", "password", "client_secret", "DPoP", "token",
     "access_token", "api_key", "apiKey", "X-API-Key", "private_key", "salt", "run_salt",
     "passphrase", "aws_credentials"],
)  # fmt: skip
def test_the_value_of_a_secret_key_is_in_no_line(key: str) -> None:
    out = io.StringIO()
    logs.configure(form="json", stream=out)
    structlog.get_logger().info("event", **{key: "hunter2"}, inside={key: ["hunter2"]})
    assert "hunter2" not in out.getvalue()
    assert json.loads(out.getvalue())[key] == logs.REDACTED


def test_what_is_no_secret_stays() -> None:
    out = io.StringIO()
    logs.configure(form="json", stream=out)
    structlog.get_logger().warning(
        "denied", workload="spiffe://a.example/x", tokens_left=3, monkey="k", seconds=0.5, ok=True
    )
    line = json.loads(out.getvalue())
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "denied",
        "level": "warning",
        "workload": "spiffe://a.example/x",
        "tokens_left": 3,
        "monkey": "k",
        "seconds": 0.5,
        "ok": True,
    }


def test_a_password_in_an_address_is_redacted_and_the_address_stays() -> None:
    text = logs.redact_text("postgresql://plane:hunter2@db.example:5432/midflight")
    assert text == f"postgresql://{logs.REDACTED}@db.example:5432/midflight"


def test_bytes_and_unknown_things_are_not_shown() -> None:
    out = io.StringIO()
    logs.configure(form="json", stream=out)
    structlog.get_logger().info(
        "event", key_material=b"hunter2", deep={"a": {"b": {"c": {"d": {"e": {"f": "hunter2"}}}}}}
    )
    assert "hunter2" not in out.getvalue()


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_redaction_takes_any_value(value: Any) -> None:
    logs.redact(None, "info", {"event": "e", "value": value})


def test_long_text_is_cut() -> None:
    assert len(logs.redact_text("a" * 1_000_000)) < 20_000


def test_a_terminal_gets_colours_unless_no_color_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured, plain, piped = Terminal80(), Terminal80(), io.StringIO()
    logs.configure(stream=coloured)
    structlog.get_logger().info("event", a=1)
    monkeypatch.setenv("NO_COLOR", "1")
    logs.configure(stream=plain)
    structlog.get_logger().info("event", a=1)
    logs.configure(stream=piped)
    structlog.get_logger().info("event", a=1)
    assert "\x1b[" in coloured.getvalue()
    assert "\x1b[" not in plain.getvalue()
    assert "event" in plain.getvalue()
    assert json.loads(piped.getvalue())["a"] == 1


def test_hostile_text_cannot_drive_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    out = Terminal80()
    logs.configure(stream=out)
    structlog.get_logger().info("\x1b[2Jcleared", tool="\x1b]0;owned\x07", name="\u202egnp.exe\r")
    structlog.get_logger().info("one\n2030-01-01 [info] forged", more="two\nthree\u2028four")
    try:
        raise ValueError("\x1b[31m in an exception")  # noqa: TRY301 # a traceback is wanted
    except ValueError:
        structlog.get_logger().exception("broken")
    assert not any(line.startswith("2030") for line in out.getvalue().splitlines())
    assert "three" in out.getvalue()
    for control in ("\x1b", "\x07", "\u202e", "\r"):
        assert control not in out.getvalue()


def test_levels_below_the_configured_one_are_not_written() -> None:
    out = io.StringIO()
    logs.configure("warning", form="json", stream=out)
    structlog.get_logger("x").info("quiet")
    logging.getLogger("y").info("quiet")
    structlog.get_logger("x").warning("loud")
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["loud"]
