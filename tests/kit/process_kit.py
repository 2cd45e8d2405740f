"""`midflight up` in a process of its own, as people run it, and a bare MCP client for it.

The process can be killed and started again on the same state. Everything it writes to stdout and
stderr is kept, over all starts. Operators' verbs go through its control socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from store_kit import with_schema

import midflight
from midflight.apps.control.client import ControlClient

DOMAIN = "live.midflight.internal"
PUBLIC_URL = "http://127.0.0.1:8600"
REFUSAL = "dev.midflight/refusal"
UP_SECONDS = 60.0
_URL = re.compile(r"^gateway +(http://[^/\s]+)", re.MULTILINE)
_IDS = itertools.count(1)


class ProcessPlane:
    """A plane over the given upstreams, standard policies. `start`, `kill`, `stop` in any order."""

    def __init__(
        self,
        folder: Path,
        upstreams: str,
        *,
        extra: str = "",
        environment: Any = None,
        program: tuple[str, ...] = ("-m", "midflight.apps.cli.main"),
    ) -> None:
        """`upstreams` and `extra` are TOML; `program` is what Python runs."""
        self._program = program
        self.folder = folder
        self.config = folder / "midflight.toml"
        self.state = with_schema(folder / "state")
        self.output = bytearray()
        self._environment = {**os.environ, **(environment or {})}
        # Socket paths are short, and those of pytest are not.
        self._sockets = Path(tempfile.mkdtemp(prefix="mf-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self.url = ""
        if "[approvals.wait]" not in extra:
            extra += '\n[approvals.wait]\nhold = "0s"\n'  # nobody answers here: told at once
        pack = Path(midflight.__file__).parent / "policies" / "standard"
        shutil.copytree(pack, folder / "policies" / "standard")
        self.config.write_text(
            f"""{extra}
[gateway]
listen = "127.0.0.1:0"
public_url = "{PUBLIC_URL}"
[state]
directory = "state"
[identity]
trust_domain = "{DOMAIN}"
[control]
socket = "{self._sockets}/c.sock"
{upstreams}
""",
            encoding="utf-8",
        )

    @property
    def control(self) -> ControlClient:
        return ControlClient(self._sockets / "c.sock")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it says that it is up."""
        up = threading.Event()
        began = len(self.output)
        process = self._process = subprocess.Popen(
            [sys.executable, *self._program, "--config", str(self.config), "up"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environment | {"NO_COLOR": "1"},
        )

        def read() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                self.output += line
                if b"Midflight is up" in line:
                    up.set()
            up.set()

        self._reader = threading.Thread(target=read, daemon=True)
        self._reader.start()
        assert up.wait(UP_SECONDS), self.output.decode()
        found = _URL.search(self.output[began:].decode())
        assert found is not None, self.output.decode()
        self.url = found[1]

    def kill(self) -> None:
        """SIGKILL, now."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGKILL)

    def reaped(self) -> int:
        """Wait for its end; the exit status. Everything it wrote is read by then."""
        assert self._process is not None
        assert self._reader is not None
        status = self._process.wait(UP_SECONDS)
        self._reader.join(UP_SECONDS)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return status

    def stop(self) -> int:
        """SIGTERM, and wait."""
        assert self._process is not None
        self._process.terminate()
        return self.reaped()

    def discard(self) -> None:
        """Kill it if it runs, and remove the socket's folder."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self.reaped()
        shutil.rmtree(self._sockets, ignore_errors=True)

    # Operators' verbs

    def register(self, name: str) -> str:
        """Register an agent; its SPIFFE ID."""
        workload = f"spiffe://{DOMAIN}/agents/{name}"
        review = int(time.time()) + 86_400
        self.control.post(
            "/v1/workloads", id=workload, owner="ann", escalation="oncall", review_by=review
        )
        return workload

    def pin(self, upstream: str, traits: dict[str, tuple[str, str]]) -> None:
        """Pin tools by name with effect and reach."""
        for tool in self.control.get("/v1/tools", upstream=upstream, fresh="true"):
            if tool["name"] in traits:
                effect, reach = traits[tool["name"]]
                self.control.post(
                    "/v1/tools/pin",
                    upstream=upstream,
                    name=tool["name"],
                    digest=tool["digest"],
                    effect=effect,
                    reach=reach,
                )

    def open_run(self, workload: str, *, intent: str = "a test", **more: Any) -> tuple[str, str]:
        """A fresh run; its id and a token for it."""
        run = self.control.post("/v1/runs", workload=workload, intent=intent, **more)["id"]
        return run, self.token(workload, run=run)

    def token(self, workload: str, **more: Any) -> str:
        """A token that lives fifteen minutes."""
        minted = self.control.post("/v1/tokens", workload=workload, ttl_s=900, **more)
        return str(minted["token"])


async def metrics(plane: ProcessPlane) -> bytes:
    """The metrics page of a plane that runs."""
    host = plane.url.removeprefix("http://")
    reader, writer = await asyncio.open_connection(*host.split(":"))
    writer.write(f"GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    body = await reader.read(-1)
    writer.close()
    return body


@contextlib.contextmanager
def process_plane(folder: Path, upstreams: str, **more: Any) -> Any:
    """A plane that is not started yet, and is gone afterwards."""
    plane = ProcessPlane(folder, upstreams, **more)
    try:
        yield plane
    finally:
        plane.discard()


# The client


class Said:
    """An answer of the gateway: HTTP status, headers and the JSON-RPC message."""

    def __init__(self, status: int, headers: dict[str, str], message: Any) -> None:
        self.status = status
        self.headers = headers
        self.message = message

    @property
    def refusal(self) -> dict[str, Any] | None:
        """Midflight's refusal, if it is one."""
        if not isinstance(self.message, dict):
            return None
        result = self.message.get("result") or {}
        error = self.message.get("error") or {}
        found = (result.get("_meta") or {}).get(REFUSAL) or (error.get("data") or {}).get(REFUSAL)
        return found if isinstance(found, dict) else None

    @property
    def code(self) -> str:
        """`done`, or the code of the refusal, or what else was answered."""
        if self.refusal is not None:
            return str(self.refusal["code"])
        if self.status == 200 and "result" in self.message:
            return "done"
        return f"{self.status} {self.message}"

    def __repr__(self) -> str:
        return f"Said({self.status}, {self.message})"


class Connection:
    """One keep-alive connection to the gateway; one request at a time, whole bytes in and out."""

    def __init__(self, url: str) -> None:
        self.host = url.removeprefix("http://")
        host, _, port = self.host.partition(":")
        self._address = host, int(port)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def call(self, token: str, tool: str, /, **arguments: Any) -> Said:
        """One `tools/call` of the modern generation."""
        return await self.exchange(call_bytes(token, tool, arguments, host=self.host))

    async def exchange(self, raw: bytes) -> Said:
        """Send bytes and read one answer. `ConnectionError` if the other side goes first."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address)
        reader, writer = self._streams
        try:
            writer.write(raw)
            await writer.drain()
            return await read_answer(reader)
        except (asyncio.IncompleteReadError, OSError) as error:
            self.close()
            raise ConnectionError(type(error).__name__) from None

    def close(self) -> None:
        """Drop the connection."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


async def read_answer(reader: asyncio.StreamReader) -> Said:
    """One answer with a Content-Length. `IncompleteReadError` if it does not come."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    status_line, *lines = head.split("\r\n")
    headers = {
        name.lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines if line)
    }
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    message = json.loads(body) if body else None
    return Said(int(status_line.split(" ")[1]), headers, message)


META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


def message_of(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The JSON-RPC message of a tool call."""
    params = {"name": tool, "arguments": arguments, "_meta": META}
    return {"jsonrpc": "2.0", "id": next(_IDS), "method": "tools/call", "params": params}


def call_bytes(token: str, tool: str, arguments: dict[str, Any], **more: Any) -> bytes:
    """The bytes of a tool call."""
    return post_bytes(
        json.dumps(message_of(tool, arguments)).encode(),
        token,
        method="tools/call",
        name=tool,
        **more,
    )


def post_bytes(
    body: bytes,
    token: str | None,
    *,
    host: str,
    version: str = "2026-07-28",
    method: str = "",
    name: str = "",
    path: str = "/mcp",
    scheme: str = "Bearer",
    headers: tuple[str, ...] = (),
) -> bytes:
    """The bytes of a POST of the modern generation; `headers` are whole lines."""
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: {host}",
        "Content-Type: application/json",
        "Accept: application/json, text/event-stream",
        f"MCP-Protocol-Version: {version}",
        *([] if token is None else [f"Authorization: {scheme} {token}"]),
        *([f"Mcp-Method: {method}"] if method else []),
        *([f"Mcp-Name: {name}"] if name else []),
        *headers,
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


__all__ = [
    "DOMAIN",
    "META",
    "PUBLIC_URL",
    "Connection",
    "ProcessPlane",
    "Said",
    "call_bytes",
    "message_of",
    "metrics",
    "post_bytes",
    "process_plane",
    "read_answer",
]
