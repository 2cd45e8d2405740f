"""Two look through OpenBao's tokens at once: neither misses a token because of the other."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from midflight.adapters.credentials.calls import Answer
from midflight.adapters.credentials.openbao_tokens import LeaseTokens
from midflight.domain.value import JSONObject
from midflight.wire import json

pytestmark = pytest.mark.anyio
COUNT = 8


class SlowServer:
    """Answers the look at a token when it is let. A token is made between the first two lists."""

    def __init__(self) -> None:
        self.waiting: dict[str, asyncio.Event] = {}
        self._keys = [f"b{number}" for number in range(COUNT)]

    async def ask(
        self, method: str, path: str, body: JSONObject | None = None, *, again: bool = False
    ) -> Answer:
        del method, path, again
        if body is None:
            keys = list(self._keys)
            self._keys.insert(0, "a-new-one")
            return answer({"data": {"keys": [*keys]}})
        accessor = str(body["accessor"])
        await self.waiting.setdefault(accessor, asyncio.Event()).wait()
        meta: JSONObject = {
            "midflight_lease": f"midflight-{accessor}",
            "midflight_installation": "here",
        }
        return answer({"data": {"meta": meta}})


def answer(body: JSONObject) -> Answer:
    return Answer(status=200, headers={}, body=json.encode(body))


async def test_lists_that_overlap_are_both_whole() -> None:
    server = SlowServer()
    tokens = LeaseTokens(cast("Any", server), installation="here")
    first = asyncio.ensure_future(tokens.named())
    for number in range(COUNT // 2):
        while f"b{number}" not in server.waiting:
            await asyncio.sleep(0)
        server.waiting[f"b{number}"].set()
    second = asyncio.ensure_future(tokens.named())
    while "a-new-one" not in server.waiting:
        await asyncio.sleep(0)
    while not first.done():
        for accessor, let in list(server.waiting.items()):
            if accessor != "a-new-one":
                let.set()
        await asyncio.sleep(0)
    assert set((await first).values()) == {f"midflight-b{number}" for number in range(COUNT)}
    server.waiting["a-new-one"].set()
    assert len(await second) == COUNT + 1
