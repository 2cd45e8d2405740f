"""A provider, or somebody before it, answers a question in another's name, twice, or with junk."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from approver_kit import OPERATOR, Approving, approving
from ciba_kit import CLIENT, LyingProvider, lying_provider, settings_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from identity_kit import Key

from midflight.adapters.login.ciba import AUTH_REQ_ID, CibaProvider
from midflight.domain.errors import StoreUnavailable, Unauthenticated, UpstreamUnavailable
from midflight.domain.identity import Author
from midflight.domain.records import ApprovalAnswered, Observed
from midflight.services.backchannel import MAX_EACH
from midflight.services.ports.backchannel import Polled, Word
from midflight.testing import FakeClock

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def asked(
    folder: Path, *, approvers: str = "owner"
) -> AsyncIterator[tuple[Approving, LyingProvider, str]]:
    async with lying_provider() as provider:
        more = settings_of(provider)
        async with approving(folder, approvers=approvers, **more) as served:
            await served.accounts.add("ada", OPERATOR, groups=["team-one"])
            approval = await served.ask()
            await tick(served, seconds=0)
            yield served, provider, approval


async def tick(served: Approving, *, seconds: float = 6) -> None:
    found = served.plane.approvers.backchannel
    assert found is not None
    served.clock.leap(seconds)
    await found.tick()


LIES: dict[str, Callable[[LyingProvider], tuple[int, Any]]] = {
    "somebody else": lambda p: p.token(sub="sub-of-bob"),
    "the owner by name": lambda p: p.token(sub="team-one"),
    "nobody": lambda p: p.token(sub=...),
    "a number": lambda p: p.token(sub=7),
    "another client": lambda p: p.token(aud="another"),
    "two clients": lambda p: p.token(aud=[CLIENT, "x"], azp="x"),
    "another issuer": lambda p: p.token(iss="https://evil.example"),
    "another key": lambda p: (
        200,
        {"id_token": p.id_token(aud=CLIENT, key=Key(), sub="sub-of-ada")},
    ),
    "another question": lambda p: p.token(**{AUTH_REQ_ID: "x"}),
    "long ago": lambda p: p.token(iat=int(time.time()) - 3_600, exp=int(time.time()) + 60),
    "over": lambda p: p.token(exp=int(time.time()) - 3_600, iat=int(time.time()) - 3_700),
    "no ID token": lambda _: (200, {"access_token": "x"}),
    "a word": lambda _: (200, {"id_token": "yes"}),
    "refused": lambda _: (401, {"error": "invalid_client"}),
}


async def test_what_does_not_hold_answers_nothing(tmp_path: Path) -> None:
    async with asked(tmp_path) as (served, provider, first):
        provider.says = lambda _: (200, b"<yes/>")
        await tick(served)  # no answer at all: it is polled again
        store = served.plane.parts.store
        assert [row.approval for row in await store.list_backchannel()] == [first]
        await served.desk.refuse(first, author=Author(name="team-one", proof="test"))
        run = await served.run()
        for number, (name, lie) in enumerate(LIES.items()):
            approval = await served.ask(run, to=f"u{number}@x.org")
            await tick(served, seconds=0)
            assert [row.approval for row in await store.list_backchannel()] == [approval], name
            provider.says = lambda _, lie=lie: lie(provider)
            await tick(served)
            assert (await served.desk.show(approval)).state.value == "pending", name
            assert await store.list_backchannel() == [], name
            records = await served.records(Observed)
            noted = [r for r in records if r.what == "backchannel.refused"]
            assert (noted[-1].subject, noted[-1].details["approval"]) == ("ada", approval), name
        assert [r.author for r in await served.records(ApprovalAnswered)] == ["team-one"]


async def test_the_true_answer_counts(tmp_path: Path) -> None:
    async with asked(tmp_path) as (served, provider, approval):
        name = provider.told[-1]
        assert name[0] == "/start"
        provider.says = lambda form: provider.token(**{AUTH_REQ_ID: form["auth_req_id"]})
        await tick(served)
        assert (await served.desk.show(approval)).state.value == "approved"


async def test_a_no_is_not_lost_while_the_store_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asked(tmp_path) as (served, provider, approval):
        store = served.plane.parts.store
        provider.says = lambda _: (400, {"error": "access_denied"})

        async def gone(*_: Any) -> None:
            raise StoreUnavailable("The store is gone.")

        with monkeypatch.context() as patched:
            patched.setattr(store, "answer_approval", gone)
            with pytest.raises(StoreUnavailable):
                await tick(served)
        # The provider has said it, and says it no more.
        provider.says = lambda _: (400, {"error": "expired_token"})
        await tick(served)
        assert (await served.desk.show(approval)).state.value == "refused"
        assert await store.list_backchannel() == []


async def test_an_answer_counts_for_the_question_it_was_polled_for(tmp_path: Path) -> None:
    async with asked(tmp_path) as (served, provider, first):
        provider.says = lambda _: (400, {"error": "authorization_pending"})
        second = await served.ask(to="eve@x.org")
        await tick(served, seconds=0)
        rows = {row.approval: row for row in await served.plane.parts.store.list_backchannel()}
        assert set(rows) == {first, second}
        store = served.plane.parts.store
        name = await served.plane.sealer.open_text("backchannel", rows[first].sealed)
        provider.says = lambda form: (
            provider.token()
            if form["auth_req_id"] == name
            else (400, {"error": "authorization_pending"})
        )
        await tick(served)
        assert (await served.desk.show(first)).state.value == "approved"
        assert (await served.desk.show(second)).state.value == "pending"
        assert [row.approval for row in await store.list_backchannel()] == [second]


async def test_who_lost_his_right_meanwhile_has_not_answered(tmp_path: Path) -> None:
    async with asked(tmp_path) as (served, provider, approval):
        await served.accounts.change("ada", OPERATOR, groups=[])
        provider.says = lambda _: provider.token()
        await tick(served)
        assert (await served.desk.show(approval)).state.value == "pending"
        other = await served.ask(to="eve@x.org")
        await served.accounts.change("ada", OPERATOR, groups=["team-one"], disabled=True)
        before = len(provider.told)
        await tick(served)
        assert len(provider.told) == before  # and is not asked any more
        assert (await served.desk.show(other)).state.value == "pending"


async def test_after_its_end_nothing_is_polled_and_nothing_counts(tmp_path: Path) -> None:
    async with asked(tmp_path) as (served, provider, approval):
        provider.says = lambda _: provider.token()
        before = len(provider.told)
        await tick(served, seconds=601)
        assert len(provider.told) == before
        assert (await served.desk.show(approval)).state.value == "expired"


async def test_a_provider_that_asks_for_patience_gets_it(tmp_path: Path) -> None:
    async with asked(tmp_path) as (served, provider, _):
        provider.says = lambda _: (400, {"error": "slow_down"})
        await tick(served, seconds=1.5)
        polls = len(provider.told)
        await tick(served, seconds=5)
        assert len(provider.told) == polls
        await tick(served, seconds=1.5)
        assert len(provider.told) == polls + 1


async def test_nobodys_device_rings_without_end(tmp_path: Path) -> None:
    async with asked(tmp_path) as (served, provider, _):
        run = await served.run()
        for number in range(MAX_EACH + 3):
            await served.ask(run, to=f"u{number}@x.org")
        await tick(served, seconds=0)
        assert [path for path, _ in provider.told].count("/start") == MAX_EACH


async def test_names_of_questions_are_not_read_in_the_store(tmp_path: Path) -> None:
    async with lying_provider() as provider:
        provider.starts = lambda: (200, {"auth_req_id": "a-name-to-look-for", "expires_in": 300})
        async with approving(tmp_path, **settings_of(provider)) as served:
            await served.accounts.add("ada", OPERATOR, groups=["team-one"])
            await served.ask()
            await tick(served, seconds=0)
            assert len(await served.plane.parts.store.list_backchannel()) == 1
            for path in (tmp_path / "state").rglob("*"):
                assert not path.is_file() or b"a-name-to-look-for" not in path.read_bytes()


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
bodies = (
    st.binary(max_size=60)
    | values
    | st.fixed_dictionaries(
        {},
        optional={
            "auth_req_id": values,
            "expires_in": values,
            "interval": values,
            "id_token": values,
            "error": values,
        },
    )
)


@given(body=bodies, status=st.sampled_from([200, 302, 400, 401, 500]))
@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
def test_any_answer_is_an_error_or_a_word(body: Any, status: int) -> None:
    async def run() -> None:
        async with lying_provider() as provider:
            provider.starts = lambda: (status, body)
            provider.says = lambda _: (status, body)

            async def assertion(_: str) -> str:
                return "x"

            client = CibaProvider(
                issuer=provider.issuer,
                client_id=CLIENT,
                client_secret=None,
                assertion=assertion,
                clock=FakeClock(),
            )
            with contextlib.suppress(Unauthenticated, UpstreamUnavailable):
                started = await client.start(login_hint="a", binding_message="b", expires_s=60)
                assert 0 < started.expires_in <= 60
                assert 0 < started.interval <= 300
            with contextlib.suppress(Unauthenticated, UpstreamUnavailable):
                polled = await client.poll("x")
                assert isinstance(polled, Polled)
                assert polled.word is not Word.AGREED

    asyncio.run(run())


@pytest.mark.parametrize("where", ["https://[", "https://[::1", "https://a]b/", "http://[x]/"])
@pytest.mark.parametrize("name", ["backchannel_authentication_endpoint", "jwks_uri"])
async def test_metadata_with_an_address_that_is_none_ends_nothing(
    where: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with lying_provider() as provider:
        answer = provider._answer

        def bent(path: str, form: dict[str, str]) -> tuple[int, Any]:
            status, body = answer(path, form)
            return status, {**body, name: where} if "well-known" in path else body

        monkeypatch.setattr(provider, "_answer", bent)

        async def nothing(_: str) -> str:
            return ""

        ciba = CibaProvider(
            issuer=provider.issuer,
            client_id=CLIENT,
            client_secret=None,
            assertion=nothing,
            clock=FakeClock(),
        )
        with pytest.raises((Unauthenticated, UpstreamUnavailable)):
            await ciba.start(login_hint="ada", binding_message="MF-1", expires_s=60)


async def test_a_question_outlasts_a_store_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asked(tmp_path) as (served, provider, first):
        store = served.plane.parts.store
        await served.desk.refuse(first, author=Author(name="team-one", proof="test"))
        second = await served.ask(await served.run(), to="else@x.org")

        async def gone(*_: Any) -> None:
            raise StoreUnavailable("It is gone.")

        with monkeypatch.context() as broken:
            broken.setattr(store, "list_backchannel", gone)
            with pytest.raises(StoreUnavailable):
                await tick(served)
        await tick(served)
        await tick(served, seconds=0)
        assert [row.approval for row in await store.list_backchannel()] == [second]
        assert [path for path, _ in provider.told].count("/start") == 2  # one a question


async def test_an_odd_answer_does_not_end_asking_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asked(tmp_path) as (served, _, _):
        people = served.plane.approvers
        assert people.backchannel is not None
        again, ticks = asyncio.Event(), 0

        async def odd() -> None:
            nonlocal ticks
            ticks += 1
            if ticks > 1:
                again.set()
            raise ValueError("Invalid IPv6 URL")

        monkeypatch.setattr(people.backchannel, "tick", odd)
        monkeypatch.setattr("midflight.apps.compose_people.TICK_S", 0.0)
        running = asyncio.ensure_future(people.run())
        over = asyncio.ensure_future(again.wait())
        await asyncio.wait({running, over}, return_when=asyncio.FIRST_COMPLETED)
        assert not running.done()
        running.cancel()
        over.cancel()
        await asyncio.gather(running, over, return_exceptions=True)
