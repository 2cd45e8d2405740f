"""What ends an exchange from beside ends that one, not the next that its connection carries."""

from __future__ import annotations

import asyncio

import pytest
from upstream_kit import FakeFlight, raw_server, read_request, response

from midflight.adapters.upstream.http_pool import HttpPool
from midflight.domain.errors import Interrupted

pytestmark = pytest.mark.anyio


async def test_what_was_denied_before_it_was_written_does_not_end_the_next_one() -> None:
    got, go = asyncio.Event(), asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(response(b"first"))
        await read_request(reader)
        got.set()
        await go.wait()
        writer.write(response(b"second"))

    async with raw_server(handle) as url:
        pool = HttpPool("x", url)
        first = await pool.send(b"POST", b"", b"{}", gate=FakeFlight())
        assert await first.read() == b"first"
        denied = FakeFlight()
        denied.reason = "revoked"
        with pytest.raises(Interrupted):
            await pool.send(b"POST", b"", b"{}", gate=denied)
        other = asyncio.ensure_future(pool.send(b"POST", b"", b"{}", gate=FakeFlight()))
        async with asyncio.timeout(20):
            await got.wait()
            denied.close()  # as whatever was denied does when it is severed, turns later
            go.set()
            assert await (await other).read() == b"second"
        assert pool.size == 1
        await pool.close()
