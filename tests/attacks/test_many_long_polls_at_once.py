"""A receiver sends many polls that wait in the same moment, so that all of them find room."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from ssf_kit import SOC, receiver, transmitter

from midflight.domain.identity import Caller
from midflight.services.ssf_polling import MAX_WAITING, Poller
from midflight.services.ssf_streams import TooMany

pytestmark = pytest.mark.anyio


async def test_no_more_wait_than_may(tmp_path: Path) -> None:
    async with transmitter(tmp_path) as server:
        soc = await (await receiver(server)).log_in()
        made = await soc.create()
        sending = server.plane.signals.transmitting
        stream = await sending.streams.get(soc.client, made["stream_id"])
        sending.polls._long = 0.2
        claims = server.plane.identity.read(soc.held)

        async def check() -> None:
            assert await server.plane.oauth.tokens.active(claims)

        caller = Caller(
            workload=SOC, run=None, token=claims.token, proof="test", expires_at=claims.expires_at
        )
        who = Poller(caller=caller, scopes=frozenset(), check=check)
        polls = [
            sending.polls.poll(stream, who, most=1, wait=True, acks=[], errors={})
            for _ in range(5 * MAX_WAITING)
        ]
        answers = await asyncio.gather(*polls, return_exceptions=True)
        assert sum(isinstance(each, TooMany) for each in answers) == 4 * MAX_WAITING
        assert [each for each in answers if each == ({}, False)] == [({}, False)] * MAX_WAITING
