"""Making findings without being the source: forged, replayed, swapped, stale, malformed signals.

Each case is one step away from a message that is taken, over a real socket.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from signal_kit import (
    BEFORE,
    OTHER,
    SECRET,
    body_of,
    findings,
    headers,
    post,
    records,
    signature,
    source,
    written,
)

from gateways import AGENT, Gateway, running_gateway
from midflight.domain.errors import StoreUnavailable
from midflight.domain.finding import Strength
from midflight.domain.records import Observed
from midflight.wire.webhook import TOLERANCE_S

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, secret in (("SIGNAL", SECRET), ("BEFORE", BEFORE), ("OTHER", OTHER)):
        monkeypatch.setenv(f"{name}_SECRET", written(secret))


SOURCES = (
    source(previous_secret="env:BEFORE_SECRET", previous_until="2199-01-01T00:00:00Z"),
    source("other", "OTHER_SECRET", max_strength="weak", per_minute=3),
)


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running_gateway(tmp_path, [], signals=SOURCES) as running:
        yield running


async def test_the_honest_message_is_taken(gateway: Gateway) -> None:
    status, said = await post(gateway, body_of())
    assert (status, said["strength"], said["workload"]) == (202, "fair", AGENT)
    [found] = await findings(gateway)
    assert found.finding.detector == "signal:classifier"
    assert found.finding.owner == "team-one"
    assert found.finding.seen == "the answers look jailbroken"


async def test_while_a_secret_is_changed_both_hold(gateway: Gateway) -> None:
    body = body_of()
    assert (await post(gateway, body, headers(body, BEFORE)))[0] == 202
    sent = headers(body, OTHER)
    several = f"{sent['webhook-signature']} v1a,AAAA v2,x junk " + signature(
        SECRET, sent["webhook-id"], sent["webhook-timestamp"], body
    )
    assert (await post(gateway, body, sent | {"webhook-signature": several}))[0] == 202


def tampered(body: bytes) -> dict[str, tuple[bytes, dict[str, str]]]:
    sent = headers(body)
    good = sent["webhook-signature"]
    at = int(sent["webhook-timestamp"])
    flipped = good[:-2] + ("A" if good[-2] != "A" else "B") + good[-1]
    return {
        "another body": (body_of(strength="strong"), sent),
        "a space more": (body + b" ", sent),
        "another id": (body, sent | {"webhook-id": "msg_other"}),
        "another time": (body, sent | {"webhook-timestamp": str(at - 1)}),
        "one bit of the signature": (body, sent | {"webhook-signature": flipped}),
        "no version": (body, sent | {"webhook-signature": good.removeprefix("v1,")}),
        "a version that is not read": (body, sent | {"webhook-signature": "v1a" + good[2:]}),
        "a cut signature": (body, sent | {"webhook-signature": good[:20]}),
        "an empty signature": (body, sent | {"webhook-signature": "v1,"}),
        "no signature": (body, {k: v for k, v in sent.items() if k != "webhook-signature"}),
        "no id": (body, {k: v for k, v in sent.items() if k != "webhook-id"}),
        "no time": (body, {k: v for k, v in sent.items() if k != "webhook-timestamp"}),
        "the secret of another source": (body, headers(body, OTHER)),
        "no secret": (body, headers(body, b"\0" * 32)),
        "too old": (body, headers(body, ago=TOLERANCE_S + 60)),
        "from the future": (body, headers(body, ago=-TOLERANCE_S - 60)),
        "no time at all": (body, headers(body, timestamp="yesterday")),
        "a time with a sign": (body, headers(body, timestamp=f"+{at}")),
        "a time with a fraction": (body, headers(body, timestamp=f"{at}.0")),
        "a part of the id moved into the time": (
            body,
            headers(body, id="m", signature=signature(SECRET, f"m.{at}", at, body)),
        ),
    }


@pytest.mark.parametrize("case", list(tampered(b"{}")))
async def test_what_its_source_has_not_signed_now_is_refused(gateway: Gateway, case: str) -> None:
    body, sent = tampered(body_of())[case]
    status, said = await post(gateway, body, sent)
    assert (status, said["code"]) == (401, "unauthenticated")
    assert await findings(gateway) == []
    assert [r for r in await records(gateway) if isinstance(r, Observed)]


async def test_a_header_that_stands_twice_is_refused(gateway: Gateway) -> None:
    body = body_of()
    sent = list(headers(body).items())
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        twice = [*sent, (name, dict(sent)[name])]
        async with httpx2.AsyncClient(trust_env=False) as http:
            url = f"{gateway.url}/signals/classifier"
            answer = await http.post(url, content=body, headers=twice)
        assert answer.status_code == 401, name


async def test_a_message_counts_once(gateway: Gateway) -> None:
    body = body_of()
    sent = headers(body)
    assert (await post(gateway, body, sent))[0] == 202
    for _ in range(3):
        status, said = await post(gateway, body, sent)
        assert (status, said["code"]) == (409, "conflict")
    assert len(await findings(gateway)) == 1
    refused = [r for r in await records(gateway) if isinstance(r, Observed)]
    assert "signal.refused" in {r.what for r in refused}


async def test_a_message_counts_once_over_a_restart(tmp_path: Path) -> None:
    body = body_of()
    sent = headers(body)
    async with running_gateway(tmp_path, [], signals=SOURCES) as gateway:
        assert (await post(gateway, body, sent))[0] == 202
    async with running_gateway(tmp_path, [], signals=SOURCES) as gateway:
        assert (await post(gateway, body, sent))[0] == 409
        assert len(await findings(gateway)) == 1


async def test_a_message_for_one_source_is_none_for_another(gateway: Gateway) -> None:
    body = body_of()
    assert (await post(gateway, body, headers(body), to="other"))[0] == 401
    # Ids are apart: who guesses the id of another source's next message cannot use it up.
    mine, theirs = headers(body, OTHER, id="msg_same"), headers(body, SECRET, id="msg_same")
    assert (await post(gateway, body, mine, to="other"))[0] == 202
    assert (await post(gateway, body, theirs))[0] == 202


@pytest.mark.parametrize("name", ["nobody", "", "classifier/", "classifier/x", "../signals/other"])
async def test_a_source_that_is_not_there_is_answered_like_a_bad_signature(
    gateway: Gateway, name: str
) -> None:
    body = body_of()
    status, said = await post(gateway, body, headers(body), to=name)
    told = await post(gateway, body, headers(body, OTHER))
    assert (status, said["message"]) == (401, told[1]["message"])
    # Nor does the secret that stands in for one that is not there open anything.
    assert (await post(gateway, body, headers(body, b"\0" * 32), to=name))[0] == 401


async def test_it_says_no_louder_than_it_may_and_no_more_often(gateway: Gateway) -> None:
    for number in range(4):
        body = body_of(strength="strong")
        status, said = await post(gateway, body, headers(body, OTHER), to="other")
        if number < 3:
            assert (status, said["strength"]) == (202, "weak")
        else:
            assert (status, said["code"]) == (429, "too_often")
    assert {each.finding.strength for each in await findings(gateway)} == {Strength.WEAK}


async def test_whoever_replays_does_not_use_up_what_the_source_may_say(gateway: Gateway) -> None:
    body = body_of()
    sent = headers(body, OTHER)
    assert (await post(gateway, body, sent, to="other"))[0] == 202
    for _ in range(20):
        assert (await post(gateway, body, sent, to="other"))[0] == 409
    assert (await post(gateway, body, headers(body, OTHER), to="other"))[0] == 202


async def test_what_was_too_often_may_come_again(gateway: Gateway) -> None:
    signals = [headers(body_of(), OTHER) for _ in range(4)]
    statuses = [(await post(gateway, body_of(), each, to="other"))[0] for each in signals]
    assert statuses == [202, 202, 202, 429]
    # Its id was not spent: later the same message is taken.
    status, _ = await post(gateway, body_of(), signals[-1], to="other")
    assert status == 429  # not 409


async def test_a_store_that_fails_loses_no_signal_and_doubles_none(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await gateway.open_run()
    body = body_of(run=run)
    sent = headers(body)
    for method in ("get_run", "use_once"):
        with monkeypatch.context() as failing:
            failing.setattr(gateway.plane.parts.store, method, gone)
            assert (await post(gateway, body, sent))[0] == 503
        assert await findings(gateway) == []
    assert (await post(gateway, body, sent))[0] == 202
    assert (await post(gateway, body, sent))[0] == 409
    assert len(await findings(gateway)) == 1


async def gone(*given: Any, **named: Any) -> Any:
    raise StoreUnavailable("The store does not answer.")


async def test_replaying_what_was_refused_uses_up_nothing(gateway: Gateway) -> None:
    body = body_of(run="run_nobody", workload="")
    sent = headers(body, OTHER)
    assert (await post(gateway, body, sent, to="other"))[0] == 404
    for _ in range(20):
        assert (await post(gateway, body, sent, to="other"))[0] == 409
    assert (await post(gateway, body_of(), headers(body_of(), OTHER), to="other"))[0] == 202


def bodies() -> dict[str, bytes]:
    good = json.loads(body_of())
    data = good["data"]

    def with_data(**more: Any) -> bytes:
        return json.dumps(good | {"data": data | more}).encode()

    return {
        "no JSON": b"{",
        "a list": b"[]",
        "a name twice": b'{"type":"finding","type":"finding","data":{}}',
        "a field too many": with_data(author="olivia"),
        "a field too many outside": json.dumps(good | {"x": 1}).encode(),
        "another type": json.dumps(good | {"type": "revoke"}).encode(),
        "another strength": with_data(strength="fatal"),
        "a number for words": with_data(seen=1),
        "no words": with_data(seen=""),
        "many words": with_data(seen="x" * 201),
        "a line break": with_data(seen="ok\nrecord: permit"),
        "letters that turn around": with_data(seen="ok \u202etimrep"),
        "an escape of a terminal": with_data(seen="\x1b[2J"),
        "about nobody": with_data(workload=""),
        "a very long name": with_data(run="r" * 3_000),
        "no UTF-8": b'{"type":"\xff"}',
    }


@pytest.mark.parametrize("case", list(bodies()))
async def test_a_signed_body_that_is_no_signal_is_refused_and_its_id_not_spent(
    gateway: Gateway, case: str
) -> None:
    body = bodies()[case]
    sent = headers(body)
    status, said = await post(gateway, body, sent)
    assert (status, said["code"]) == (400, "malformed")
    assert await findings(gateway) == []
    mended = body_of()
    again = headers(mended, id=sent["webhook-id"])
    assert (await post(gateway, mended, again))[0] == 202


async def test_what_is_too_large_or_of_another_type_is_not_read(gateway: Gateway) -> None:
    body = body_of(seen="x" * 40_000)
    assert (await post(gateway, body))[0] == 413
    body = body_of()
    form = headers(body) | {"content-type": "application/x-www-form-urlencoded"}
    assert (await post(gateway, body, form))[0] == 415


async def test_without_sources_there_is_no_door(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, []) as gateway:
        assert (await post(gateway, body_of()))[0] == 404


async def test_the_time_is_looked_at_after_the_signature(gateway: Gateway) -> None:
    body = body_of()
    stale = headers(body, OTHER, timestamp=str(int(time.time()) - 9_999))
    _, said = await post(gateway, body, stale)
    assert "signature" in said["message"]
