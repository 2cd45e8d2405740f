"""A transmitter and a receiver of events are killed with SIGKILL at each step: no event is lost.

The child revokes three things and pushes what follows to an endpoint of the parent, or takes a SET.
It dies before or after a step of its store. Then another one starts on the same store: what was
revoked durably was said to the end, in order, each under one `jti`; what was taken was acted on.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Collection, Sequence
from pathlib import Path
from typing import Any

import jwt as pyjwt
import pytest
from key_kit import SomeRings
from mortal_kit import Die, Mortal, killed
from outside_kit import jwks_of
from set_kit import HERE, IDP, REVOKED, claims_of, idp_key, set_of
from ssf_kit import Sink
from store_kit import with_schema

from gateways import AGENT, OPERATOR
from midflight.adapters.clock import SystemClock
from midflight.adapters.documents.exchange import Reach
from midflight.adapters.documents.https import HttpsDocuments
from midflight.adapters.fabric.local import LocalFabric
from midflight.adapters.keys.aes import AesKeyWrap
from midflight.adapters.signals.pushes import HttpsPushes
from midflight.adapters.store.ledger_memory import MemoryLedgerStore
from midflight.adapters.store.sqlite import SqliteStore
from midflight.adapters.telemetry.quiet import QuietTelemetry
from midflight.domain.revocation import Revocation, Scope, ScopeKind
from midflight.domain.shared_receiver import DEFAULT_EFFECTS, Reachable
from midflight.domain.shared_stream import Incoming, Method, Outgoing, Stream
from midflight.services.detection import Detection
from midflight.services.interruption import TOPIC, Interruption
from midflight.services.key_sets import KeySets, KeySource
from midflight.services.ledger import Ledger
from midflight.services.ports.keys import Purpose
from midflight.services.sealed_secrets import SealedSecrets
from midflight.services.ssf_effects import Effects
from midflight.services.ssf_emitting import SNAPSHOT, Emitting
from midflight.services.ssf_outbox import Outbox
from midflight.services.ssf_pushing import Pushing
from midflight.services.ssf_receiving import Receiving, Transmitter
from midflight.testing import FakeClock
from midflight.wire import ssf

pytestmark = pytest.mark.anyio

SENDING = ("append_revocation", "queue_ssf_events", "put_snapshot", "unqueue_ssf_events")
TAKING = ("take_ssf_set", "append_revocation", "finish_ssf_set")
SHORT = ("after append_revocation", "before put_snapshot", "after take_ssf_set")


def moments(steps: Sequence[str]) -> list[Any]:
    """All of them; those that say least are only tried where there is time."""
    found = [f"{when} {step}" for step in steps for when in ("before", "after")]
    return [each if each in SHORT else pytest.param(each, marks=pytest.mark.slow) for each in found]


class DyingStore(SqliteStore):
    """A store whose process dies around a step."""

    die: Die = lambda _self, _when, _step: None

    async def append_revocation(self, revocation: Revocation) -> int:
        self.die("before", "append_revocation")
        position = await super().append_revocation(revocation)
        self.die("after", "append_revocation")
        return position

    async def queue_ssf_events(
        self, events: Sequence[Outgoing], *, bound: int
    ) -> Sequence[Outgoing]:
        self.die("before", "queue_ssf_events")
        done = await super().queue_ssf_events(events, bound=bound)
        self.die("after", "queue_ssf_events")
        return done

    async def put_snapshot(self, name: str, body: bytes) -> None:
        step = "put_snapshot" if name == SNAPSHOT and body != b"0" else ""
        self.die("before", step)
        await super().put_snapshot(name, body)
        self.die("after", step)

    async def unqueue_ssf_events(self, stream_id: str, jtis: Collection[str]) -> int:
        self.die("before", "unqueue_ssf_events")
        done = await super().unqueue_ssf_events(stream_id, jtis)
        self.die("after", "unqueue_ssf_events")
        return done

    async def take_ssf_set(self, incoming: Incoming) -> Incoming | None:
        self.die("before", "take_ssf_set")
        known = await super().take_ssf_set(incoming)
        self.die("after", "take_ssf_set")
        return known

    async def finish_ssf_set(self, receiver: str, jti: str, outcome: str) -> None:
        self.die("before", "finish_ssf_set")
        await super().finish_ssf_set(receiver, jti, outcome)
        self.die("after", "finish_ssf_set")


class Parts:
    """What sends and takes events, over one store."""

    def __init__(self, folder: Path, die: Die | None = None) -> None:
        self.store = DyingStore(folder / "midflight.sqlite3")
        if die is not None:
            self.store.die = die  # type: ignore[method-assign]
        clock = SystemClock()
        self.fabric = LocalFabric()
        self.ledger = Ledger(MemoryLedgerStore(), signer=None, clock=clock)
        self.interruption = Interruption(
            store=self.store, fabric=self.fabric, recorder=self.ledger, clock=clock
        )
        self.rings = SomeRings(
            folder / "keys", clock=FakeClock(int(time.time())), purposes=[Purpose.SET]
        )
        telemetry = QuietTelemetry()
        self.outbox = Outbox(
            store=self.store,
            signer=self.rings.mints[Purpose.SET],
            recorder=self.ledger,
            clock=clock,
            telemetry=telemetry,
            issuer="https://here.example",
            bound=100,
        )
        self.emitting = Emitting(store=self.store, outbox=self.outbox, trust_domain="example.org")
        self.pushing = Pushing(
            store=self.store,
            outbox=self.outbox,
            sealed=SealedSecrets(store=self.store, wrap=AesKeyWrap(bytes(32)), clock=clock),
            pushes=HttpsPushes(reach=Reach(private=True, loopback=True)),
            backoff_s=(0.01,),
        )
        self.receiving = Receiving(
            [
                Transmitter(
                    name="idp",
                    keys=KeySource(issuer=IDP, fixed=jwks_of(idp_key())),
                    audience=HERE,
                    max_age_s=600,
                    reachable=Reachable(issuer=IDP, own_issuer=HERE, workloads=(AGENT,)),
                    effects=DEFAULT_EFFECTS,
                )
            ],
            sets=ssf,
            key_sets=KeySets(documents=HttpsDocuments(), clock=clock),
            store=self.store,
            effects=Effects(
                interruption=self.interruption,
                detection=Detection(recorder=self.ledger, clock=clock, telemetry=telemetry),
                store=self.store,
                recorder=self.ledger,
                clock=clock,
            ),
            clock=clock,
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Parts]:
        await self.store.open()
        await self.ledger.start("test", "fixed")
        await self.rings.rings.start(self.rings.recorder)
        await self.interruption.start()
        await self.pushing.start()
        await self.emitting.start()
        await self.fabric.subscribe(TOPIC, self.emitting.told)
        try:
            yield self
        finally:
            await self.emitting.settle()
            await self.pushing.close()
            await self.fabric.close()
            await self.ledger.close()
            await self.store.close()


class Second(Mortal):
    """Dies at the second time of its moment: one event is through by then."""

    seen = 0

    def __call__(self, when: str, step: str) -> None:
        if self.moment == f"{when} {step}":
            self.seen += 1
            if self.seen == 2:
                super().__call__(when, step)


async def send_and_die(folder: Path, moment: str, url: str) -> None:
    async with Parts(folder, Second(moment)).running() as parts:
        await parts.store.put_ssf_stream(
            Stream(
                id="one",
                client="soc",
                aud="soc",
                method=Method.PUSH,
                created_at=1,
                endpoint_url=url,
                requested=(REVOKED,),
            )
        )
        for name in ("a", "b", "c"):
            await parts.interruption.revoke(
                Scope(kind=ScopeKind.WORKLOAD, id=f"spiffe://example.org/{name}"),
                reason="stolen",
                author=OPERATOR,
            )
        while True:
            await asyncio.sleep(0)


async def take_and_die(folder: Path, moment: str, text: str) -> None:
    async with Parts(folder, Mortal(moment)).running() as parts:
        await parts.receiving.take("idp", text)
        while True:
            await asyncio.sleep(0)


@pytest.mark.parametrize("moment", moments(SENDING))
async def test_a_transmitter_that_is_killed_says_everything_to_the_end(
    moment: str, tmp_path: Path
) -> None:
    async with Sink().serving() as sink:
        await killed(__file__, "send", str(with_schema(tmp_path)), moment, sink.url)
        async with Parts(tmp_path).running() as parts:
            async with asyncio.timeout(20):
                while await parts.store.count_ssf_events("one"):
                    await asyncio.sleep(0)
            durable = [each.revocation.id for each in await parts.store.revocations()]
            assert len(durable) >= 1
            kept = await parts.store.get_snapshot(SNAPSHOT)
            assert kept == b"%d" % len(durable)
        told = [
            pyjwt.decode(text, options={"verify_signature": False}) for _, text in sink.requests
        ]
        once = {claims["txn"]: claims["jti"] for claims in told}
        assert list(once) == durable  # all of them, in order, and nothing else
        assert {claims["jti"] for claims in told} == set(once.values())  # again under one jti


@pytest.mark.parametrize("moment", moments(TAKING))
async def test_a_receiver_that_is_killed_acts_on_what_it_took(moment: str, tmp_path: Path) -> None:
    claims: dict[str, Any] = claims_of()
    text = set_of(claims)
    keys = tmp_path / "jwk.json"
    keys.write_text(pyjwt.algorithms.RSAAlgorithm.to_jwk(idp_key().private))
    await killed(__file__, "take", str(with_schema(tmp_path)), moment, text, keys.read_text())
    async with Parts(tmp_path).running() as parts:
        await parts.receiving.start()
        if moment != "before take_ssf_set":
            assert {str(each.scope) for each in parts.interruption.listing()} == {
                f"workload {AGENT}"
            }
        # It was not acknowledged, so its transmitter sends it again.
        taken = await parts.receiving.take("idp", text)
        assert taken.jti == claims["jti"]
        durable = [each.revocation for each in await parts.store.revocations()]
        assert {each.scope for each in durable} == {Scope(kind=ScopeKind.WORKLOAD, id=AGENT)}
        assert {each.proof for each in durable} == {claims["jti"]}
        assert await parts.store.unfinished_ssf_sets() == []


if __name__ == "__main__":
    if sys.argv[1] == "send":
        asyncio.run(send_and_die(Path(sys.argv[2]), sys.argv[3], sys.argv[4]))
    key = pyjwt.algorithms.RSAAlgorithm.from_jwk(sys.argv[5])
    known = idp_key()
    known.__init__(private=key)  # type: ignore[misc, arg-type] -- the parent's key in this process
    asyncio.run(take_and_die(Path(sys.argv[2]), sys.argv[3], sys.argv[4]))
    sys.exit("it was to die")
