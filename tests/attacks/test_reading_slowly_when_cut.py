"""Who reads slowly is cut as everybody is: his answer ends once, and whole."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from midflight.apps.gateway.sinks import ResponseWriter
from midflight.apps.server.at_once import AtOnce

pytestmark = pytest.mark.anyio


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data

    def close(self) -> None:
        raise AssertionError("closed in the middle")


async def test_a_reader_who_goes_on_in_the_turn_of_the_cut_gets_one_end() -> None:
    wire: Any = Wire()
    flow = FlowControl(wire)
    scope: Any = {"type": "http", "method": "POST", "path": "/"}
    cycle = RequestResponseCycle(
        scope=scope,
        transport=wire,
        flow=flow,
        logger=logging.getLogger("uvicorn.error"),
        access_logger=logging.getLogger("uvicorn.access"),
        access_log=False,
        default_headers=[],
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=True,
        on_response=lambda: None,
    )
    send: Any = cycle.send
    writer = ResponseWriter(send, at_once=AtOnce(cycle))
    await writer.event(b'{"n":1}')
    flow.pause_writing()
    telling = asyncio.ensure_future(writer.event(b'{"n":2}'))
    await asyncio.sleep(0)
    flow.resume_writing()
    writer.finish_at_once(b'{"last":true}')  # before the task above goes on
    await telling
    await writer.finish(b'{"last":true}')
    assert wire.data.count(b'{"last":true}') == 1
    assert wire.data.endswith(b"0\r\n\r\n")
    assert wire.data.count(b"0\r\n\r\n") == 1
