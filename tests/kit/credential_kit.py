"""Credentials, leases and references for tests of backends, and a server that answers badly."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from midflight.adapters.clock import SystemClock
from midflight.domain.errors import Misconfigured
from midflight.domain.lease import Credential, Lease, LeaseState, external_name

MARKER = "pl4nted-s3cret-that-must-not-leave"
"""What tests plant in secrets and in answers, and look for where it must not be."""

_COUNT = itertools.count(1)


def credential(
    backend: str, settings: Mapping[str, Any], *, scopes: tuple[str, ...] = (), name: str = "tried"
) -> Credential:
    """A credential for the upstream `tools`."""
    return Credential(
        name=name,
        backend=backend,
        upstreams=frozenset({"tools"}),
        injections=(),
        settings=dict(settings),
        scopes=scopes,
    )


def lease(
    *,
    scopes: tuple[str, ...] = (),
    ttl_s: int = 300,
    max_ttl_s: int = 3_600,
    created_at: int | None = None,
    named: str = "",
    handle: str = "",
) -> Lease:
    """A lease in `intent` by the wall clock, with a name that no other has."""
    now = int(SystemClock().now()) if created_at is None else created_at
    name = named or f"lease_{next(_COUNT):026d}"
    return Lease(
        id=name,
        credential="tried",
        backend="tried",
        external=external_name(name),
        run="run_1",
        workload="builder",
        state=LeaseState.INTENT,
        created_at=now,
        expires_at=now + ttl_s,
        max_expires_at=now + max_ttl_s,
        scopes=scopes,
        handle=handle,
    )


@dataclass
class Secrets:
    """References that read from a table, which a test may change meanwhile."""

    table: dict[str, str] = field(repr=False)

    async def read(self, reference: str) -> str:
        try:
            return self.table[reference]
        except KeyError:
            raise Misconfigured(f"{reference} names nothing.") from None


@dataclass(frozen=True)
class Asked:
    """One request that a `server` got."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


Reply = tuple[int, Any] | tuple[int, Any, Mapping[str, str]]


@contextmanager
def server(answer: Callable[[Asked], Reply]) -> Any:
    """An HTTP server on loopback that answers as a function says; JSON unless it says bytes.

    Yields its URL and the list of what was asked.
    """
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            one = Asked(self.command, self.path, headers, body)
            asked.append(one)
            status, content, *more = answer(one)
            raw = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in (more[0] if more else {}).items():
                self.send_header(name, value)
            if status != 204:
                self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            if status != 204:
                self.wfile.write(raw)

        do_GET = do_POST = do_PUT = do_DELETE = _any  # noqa: N815 -- the names that the base class calls

        def log_message(self, *_: Any) -> None:
            return

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    thread = Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.server_address[1]}", asked
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


__all__ = ["MARKER", "Asked", "Reply", "Secrets", "credential", "lease", "server"]
