"""What the gateway costs: throughput, CPU and added latency, beside peers in the same run."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvloop

from bench.load import closed_loop, legacy_loop
from bench.plane import GATEWAY_CORE, LOAD_CORE, free_port, plane, upstream
from bench.report import Row, at_least, at_most, median

CALLS = 6_000
ROUNDS = 3
LIST = "tools/list"
MCP_PROXY = Path(".tools/peers/bin/mcp-proxy")


def run() -> list[Row]:
    """Measure everything; about a minute."""
    os.sched_setaffinity(0, {LOAD_CORE})
    rows: list[Row] = []
    with upstream() as url, plane(url) as running:
        _, token = running.agent("load")
        direct = {c: _median(url, token, "look", callers=c) for c in (1, 16)}
        rows += _peers(url, token, direct[1][1])
        for kind, tool, target in (("read", "look", 2_000.0), ("effect", "send", None)):
            began = running.cpu_s()
            rate, p50 = _median(running.url, token, tool, callers=16)
            cpu = (running.cpu_s() - began) / (CALLS * (ROUNDS + 1)) * 1e6
            name = f"gateway {kind}, c=16"
            rows.append(at_least(name, rate, "rps", target) if target else Row(name, rate, "rps"))
            rows.append(Row(f"gateway {kind}, CPU a call", cpu, "µs"))
            rows.append(Row(f"gateway {kind}, c=16, p50", p50 * 1e3, "ms"))
            _, alone = _median(running.url, token, tool, callers=1)
            added = (alone - direct[1][1]) * 1e3
            rows.append(at_most(f"gateway {kind}, c=1, added p50", added, "ms", 1.2))
    return rows + _lists()


def _median(url: str, token: str, tool: str, *, callers: int) -> tuple[float, float]:
    """(calls a second, p50 in seconds): medians over rounds, after one to warm up."""
    calls = CALLS if callers > 1 else CALLS // 4
    rounds = []
    for number in range(ROUNDS + 1):
        loaded = uvloop.run(closed_loop(url, token, tool, callers=callers, calls=calls))
        if loaded.refused:
            raise RuntimeError(f"{loaded.refused} of {calls} calls were refused")
        if number:
            rounds.append((loaded.rate, loaded.quantile(0.5)))
    rates, p50s = zip(*rounds, strict=True)
    return sorted(rates)[len(rates) // 2], sorted(p50s)[len(p50s) // 2]


def _lists() -> list[Row]:
    """Whole answers over HTTP; what filtering alone costs is in `bench decide`."""
    with upstream(tools=197) as url, plane(url) as running:
        first, warm = [], []
        for number in range(ROUNDS):
            # A fresh agent each: nothing of it is cached, the run's keys and entities included.
            _, token = running.agent(f"lists-{number}")
            loaded = uvloop.run(
                closed_loop(running.url, token, "", callers=1, calls=200, method=LIST)
            )
            first.append(loaded.latencies[0])
            warm.append(loaded.quantile(0.5))
    return [
        at_most("tools/list, 200 tools, first of an agent", median(first) * 1e3, "ms", 50),
        at_most("tools/list, 200 tools, warm", median(warm) * 1e3, "ms", 1),
    ]


def _peers(url: str, token: str, direct_p50: float) -> list[Row]:
    rows = [Row("no gateway, c=1, p50", direct_p50 * 1e3, "ms")]
    if shutil.which("nginx"):
        with _nginx(url) as proxied:
            rate, p50 = _median(proxied, token, "look", callers=16)
            rows.append(Row("nginx plain proxy, c=16", rate, "rps"))
            rows.append(Row("nginx plain proxy, c=16, p50", p50 * 1e3, "ms"))
    if MCP_PROXY.exists():
        with _mcp_proxy() as proxied:
            rounds = [
                uvloop.run(legacy_loop(proxied, "look", callers=16, calls=CALLS // 8))
                for _ in range(ROUNDS)
            ]
            rows.append(
                Row("mcp-proxy before stdio, c=16", median([r.rate for r in rounds]), "rps")
            )
            p50 = median([r.quantile(0.5) for r in rounds])
            rows.append(Row("mcp-proxy before stdio, c=16, p50", p50 * 1e3, "ms"))
    return rows


@contextmanager
def _mcp_proxy() -> Iterator[str]:
    """`mcp-proxy` as its README starts it, before a stdio server, on the gateway's core."""
    port = free_port()
    process = subprocess.Popen(
        [str(MCP_PROXY), "--port", str(port), "--", sys.executable, "-m", "bench.echo_stdio"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.sched_setaffinity(process.pid, {GATEWAY_CORE})
    try:
        url = f"http://127.0.0.1:{port}/mcp"
        _until_it_listens(port)
        yield url
    finally:
        process.terminate()
        process.wait()


def _until_it_listens(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("a peer did not start")


@contextmanager
def _nginx(url: str) -> Iterator[str]:
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        target = url.removesuffix("/mcp")
        (Path(name) / "nginx.conf").write_text(
            f"""daemon off; worker_processes 1; worker_cpu_affinity {1 << GATEWAY_CORE:b};
pid {name}/pid; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{ access_log off; client_body_temp_path {name}/body; proxy_temp_path {name}/proxy;
upstream echo {{ server {target.removeprefix("http://")}; keepalive 64; }}
server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://echo;
proxy_http_version 1.1; proxy_set_header Connection ""; }} }} }}"""
        )
        process = subprocess.Popen(
            ["nginx", "-c", f"{name}/nginx.conf", "-p", name], stderr=subprocess.DEVNULL
        )
        try:
            _until_it_listens(port)
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            process.terminate()
            process.wait()
