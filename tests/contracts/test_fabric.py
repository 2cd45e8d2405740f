"""What every fabric promises; `services/ports/fabric.py` says it in words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from midflight.adapters.fabric.local import LocalFabric
from midflight.domain.errors import Conflict, Unavailable
from midflight.services.ports.fabric import Fabric

pytestmark = pytest.mark.anyio


@pytest.fixture
async def fabric() -> AsyncIterator[Fabric]:
    fabric = LocalFabric()
    yield fabric
    await fabric.close()


class Heard:
    """A handler that notes what it was told, and may be held or told to fail."""

    def __init__(self) -> None:
        self.positions: list[int] = []
        self.started: list[int] = []
        self.go = asyncio.Event()
        self.go.set()
        self.error: Exception | None = None

    async def __call__(self, position: int) -> None:
        self.started.append(position)
        await self.go.wait()
        if self.error is not None:
            raise self.error
        self.positions.append(position)


async def spin() -> None:
    """Let everything that can run, run."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_publish_returns_when_every_subscriber_has_applied_it(fabric: Fabric) -> None:
    first, second = Heard(), Heard()
    await fabric.subscribe("revocations", first)
    await fabric.subscribe("revocations", second)
    second.go.clear()
    publishing = asyncio.ensure_future(fabric.publish("revocations", 1))
    await spin()
    assert first.positions == [1]
    assert not publishing.done()
    second.go.set()
    await publishing
    assert second.positions == [1]


async def test_nobody_listening_is_nobody_to_wait_for(fabric: Fabric) -> None:
    await fabric.publish("revocations", 1)


async def test_topics_do_not_mix(fabric: Fabric) -> None:
    revocations, policies = Heard(), Heard()
    await fabric.subscribe("revocations", revocations)
    await fabric.subscribe("policies", policies)
    await fabric.publish("revocations", 1)
    await fabric.publish("policies", 2)
    assert revocations.positions == [1]
    assert policies.positions == [2]


async def test_what_was_published_before_is_not_told(fabric: Fabric) -> None:
    heard = Heard()
    await fabric.publish("revocations", 1)
    await fabric.subscribe("revocations", heard)
    await fabric.publish("revocations", 2)
    assert heard.positions == [2]


async def test_concurrent_publications_are_applied_in_their_order_one_at_a_time(
    fabric: Fabric,
) -> None:
    heard = Heard()
    await fabric.subscribe("revocations", heard)
    heard.go.clear()
    publishing = [asyncio.ensure_future(fabric.publish("revocations", n)) for n in range(1, 51)]
    await spin()
    assert heard.started == [1]
    heard.go.set()
    await asyncio.gather(*publishing)
    assert heard.positions == list(range(1, 51))


async def test_a_slow_subscriber_does_not_keep_others_from_later_news(fabric: Fabric) -> None:
    slow, quick = Heard(), Heard()
    await fabric.subscribe("revocations", slow)
    await fabric.subscribe("revocations", quick)
    slow.go.clear()
    publishing = [asyncio.ensure_future(fabric.publish("revocations", n)) for n in (1, 2)]
    await spin()
    assert quick.positions == [1, 2]
    assert slow.positions == []
    slow.go.set()
    await asyncio.gather(*publishing)
    assert slow.positions == [1, 2]


async def test_a_failing_subscriber_fails_the_publication_and_stops_nobody(fabric: Fabric) -> None:
    broken, well = Heard(), Heard()
    broken.error = RuntimeError("no")
    await fabric.subscribe("revocations", broken)
    await fabric.subscribe("revocations", well)
    with pytest.raises(Unavailable) as caught:
        await fabric.publish("revocations", 1)
    assert caught.value.__cause__ is broken.error
    assert well.positions == [1]
    broken.error = None
    await fabric.publish("revocations", 2)
    assert broken.positions == [2]
    assert well.positions == [1, 2]


async def test_several_failures_are_all_named(fabric: Fabric) -> None:
    broken = [Heard(), Heard()]
    for heard in broken:
        heard.error = RuntimeError("no")
        await fabric.subscribe("revocations", heard)
    with pytest.raises(Unavailable) as caught:
        await fabric.publish("revocations", 1)
    assert isinstance(caught.value.__cause__, ExceptionGroup)
    assert len(caught.value.__cause__.exceptions) == 2


async def test_a_subscriber_that_cancels_itself_has_failed(fabric: Fabric) -> None:
    async def give_up(_position: int) -> None:
        raise asyncio.CancelledError

    heard = Heard()
    await fabric.subscribe("revocations", give_up)
    await fabric.subscribe("revocations", heard)
    for position in (1, 2):
        with pytest.raises(Unavailable):
            await fabric.publish("revocations", position)
    assert heard.positions == [1, 2]


async def test_a_cancelled_publisher_does_not_take_the_news_back(fabric: Fabric) -> None:
    heard = Heard()
    await fabric.subscribe("revocations", heard)
    heard.go.clear()
    publishing = asyncio.ensure_future(fabric.publish("revocations", 1))
    await spin()
    publishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await publishing
    heard.go.set()
    await fabric.publish("revocations", 2)
    assert heard.positions == [1, 2]


async def test_a_failure_after_the_publisher_has_gone_harms_nobody(fabric: Fabric) -> None:
    heard = Heard()
    heard.error = RuntimeError("no")
    await fabric.subscribe("revocations", heard)
    heard.go.clear()
    publishing = asyncio.ensure_future(fabric.publish("revocations", 1))
    await spin()
    publishing.cancel()
    await asyncio.wait([publishing])
    heard.go.set()
    await spin()
    heard.error = None
    await fabric.publish("revocations", 2)
    assert heard.positions == [2]


async def test_a_subscriber_that_publishes_to_its_own_topic_is_told_off(fabric: Fabric) -> None:
    async def echo(position: int) -> None:
        await fabric.publish("revocations", position + 1)

    await fabric.subscribe("revocations", echo)
    with pytest.raises(Unavailable) as caught:
        await fabric.publish("revocations", 1)
    assert isinstance(caught.value.__cause__, Conflict)


async def test_a_subscriber_may_publish_to_another_topic(fabric: Fabric) -> None:
    heard = Heard()

    async def relay(position: int) -> None:
        await fabric.publish("policies", position)

    await fabric.subscribe("revocations", relay)
    await fabric.subscribe("policies", heard)
    await fabric.publish("revocations", 7)
    assert heard.positions == [7]


async def test_a_closed_fabric_says_that_nobody_was_told(fabric: Fabric) -> None:
    heard = Heard()
    await fabric.subscribe("revocations", heard)
    heard.go.clear()
    publishing = [asyncio.ensure_future(fabric.publish("revocations", n)) for n in (1, 2)]
    await spin()
    await fabric.close()
    for one in publishing:
        with pytest.raises(Unavailable):
            await one
    with pytest.raises(Unavailable):
        await fabric.publish("revocations", 3)
    with pytest.raises(Unavailable):
        await fabric.subscribe("revocations", heard)
    assert heard.positions == []
