"""A secret is placed by libraries that tell of all they do: none of it is in a log, at any level.

An upstream over HTTP/2 is asked with a leased credential in the URL and in a header, and a backend
with Midflight's own token. One library writes URLs at the level `info`; others write headers at
`debug`.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest
from credential_kit import Secrets, credential, server
from hostile_server import Hostile
from upstream_kit import FakeFlight, RecordingSink, call_tool, raw_server

from midflight.adapters.clock import SystemClock
from midflight.adapters.credentials.openbao import OpenBaoBackend
from midflight.adapters.telemetry import logs
from midflight.adapters.upstream.mcp_http import McpHttpUpstream
from midflight.domain.errors import MidflightError
from midflight.services.ports.injection import Attachment
from midflight.services.ports.upstream import RunSeat

pytestmark = pytest.mark.anyio

QUERY, HEADER, OWN = "query-s3cret-0123456789", "header-s3cret-0123456789", "own-t0ken-0123456789"


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, handlers = root.level, list(root.handlers)
    ours = logging.getLogger("midflight")
    level = ours.level
    yield (stream := io.StringIO())
    assert "a line of ours" in stream.getvalue()
    root.handlers, root.level = handlers, before
    ours.setLevel(level)


@pytest.mark.parametrize("level", ["info", "debug"])
async def test_what_libraries_tell_holds_no_secret(level: str, written: io.StringIO) -> None:
    logs.configure(level, form="json", stream=written)
    logging.getLogger("midflight.tests").warning("a line of ours")
    for library in ("httpx2", "httpcore2.http2", "hpack.hpack", "botocore.auth", "asyncpg"):
        getattr(logging.getLogger(library), level)(f"Encoding {HEADER} into /mcp?key={QUERY}")
    hostile = Hostile(modern=True)
    with server(lambda asked: (403, {"errors": [asked.path]})) as (url, asked):
        async with raw_server(hostile.serve) as place:
            hostile.url = place
            upstream = McpHttpUpstream("one", place, http2=True)
            await upstream.call(
                call_tool("look"),
                seat=RunSeat(run="run_1", workload="w"),
                flight=FakeFlight(),
                sink=RecordingSink(),
                attachment=Attachment(
                    leases=("lease_1",),
                    headers=(("X-Key", HEADER),),
                    query=(("key", QUERY),),
                ),
            )
            await upstream.close()
        settings = {
            "url": url,
            "path": "database/creds/ro",
            "policies": ["p"],
            "auth": {"method": "token", "token": "env:T"},
        }
        backend = OpenBaoBackend(
            credential("openbao", settings),
            references=Secrets({"env:T": OWN}),
            clock=SystemClock(),
        )
        with pytest.raises(MidflightError):
            await backend.check()
        await backend.close()
    assert any("x-vault-token" in each.headers for each in asked)
    text = written.getvalue()
    for secret in (QUERY, HEADER, OWN):
        assert secret not in text
        assert secret.encode().hex() not in text
