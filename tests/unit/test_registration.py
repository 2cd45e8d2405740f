"""Who may be whom: entries, what ends them, join tokens."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import msgspec
import pytest
from attest_kit import Registered, found, registered, these

from midflight.domain.attestation import Selector
from midflight.domain.errors import (
    Conflict,
    LedgerUnavailable,
    Malformed,
    NotFound,
    StoreUnavailable,
    Unauthenticated,
)
from midflight.domain.identity import Workload
from midflight.domain.records import Changed
from midflight.domain.revocation import Scope, ScopeKind
from midflight.services.registration import Registration
from midflight.testing.clock import FakeClock
from midflight.testing.words import OPERATOR, WORKLOAD

pytestmark = pytest.mark.anyio


@pytest.fixture
async def made() -> AsyncIterator[Registered]:
    async with registered() as found_:
        yield found_


def ids(made: Registered, *selectors: str) -> list[str]:
    return [entry.spiffe_id for entry in made.registration.entries_for(found(*selectors))]


async def test_whoever_has_all_selectors_is_that_workload(made: Registered) -> None:
    await made.registration.add(
        spiffe_id=WORKLOAD,
        selectors=these("unix:uid:7", "unix:path:/usr/bin/agent"),
        author=OPERATOR,
    )
    assert ids(made, "unix:uid:7", "unix:path:/usr/bin/agent", "unix:gid:1") == [WORKLOAD]
    assert ids(made, "unix:uid:7") == []
    assert ids(made, "unix:uid:8", "unix:path:/usr/bin/agent") == []


async def test_a_uid_of_a_workload_is_an_entry_until_it_has_it_no_more(made: Registered) -> None:
    told: list[int] = []
    made.registration.on_changed(lambda: told.append(1))
    before = await made.plane.inventory.get(WORKLOAD)
    fields = {name: getattr(before, name) for name in before.__struct_fields__}
    await made.plane.inventory.register(Workload(**fields | {"uid": 4242}), OPERATOR)
    assert ids(made, "unix:uid:4242") == [WORKLOAD]
    assert told
    (entry,) = made.registration.list()
    with pytest.raises(Conflict, match="uid"):
        await made.registration.remove(entry.id, OPERATOR)
    await made.plane.inventory.register(Workload(**fields | {"uid": None}), OPERATOR)
    assert ids(made, "unix:uid:4242") == []


async def test_every_problem_of_an_entry_is_named_at_once(made: Registered) -> None:
    with pytest.raises(Malformed) as refused:
        await made.registration.add(
            spiffe_id=WORKLOAD,
            selectors=these("unix:script:/tmp/a.py", "unix:cwd:/tmp"),
            author=OPERATOR,
            x509_ttl_s=7_200,
            jwt_ttl_s=3_600,
            hint="two\nlines",
        )
    for part in ("weak", "X509-SVID", "JWT-SVID", "hint"):
        assert part in refused.value.message


async def test_an_entry_of_somebody_unregistered_is_refused(made: Registered) -> None:
    with pytest.raises(NotFound):
        await made.registration.add(
            spiffe_id=WORKLOAD + "/other", selectors=these("unix:uid:7"), author=OPERATOR
        )


async def test_what_ends_the_workload_ends_its_entries_at_once(made: Registered) -> None:
    await made.registration.add(spiffe_id=WORKLOAD, selectors=these("unix:uid:7"), author=OPERATOR)
    told: list[int] = []
    made.registration.on_changed(lambda: told.append(1))
    await made.plane.inventory.disable(WORKLOAD, OPERATOR)
    assert told
    assert ids(made, "unix:uid:7") == []
    await made.plane.inventory.enable(WORKLOAD, OPERATOR)
    assert ids(made, "unix:uid:7") == [WORKLOAD]
    told.clear()
    scope = Scope(kind=ScopeKind.WORKLOAD, id=WORKLOAD)
    await made.plane.interruption.revoke(scope, reason="test", author=OPERATOR)
    assert told
    assert ids(made, "unix:uid:7") == []


async def test_who_is_launched_for_a_run_matches_no_entry_beside_it(made: Registered) -> None:
    workload = await made.plane.inventory.get(WORKLOAD)
    run = await made.plane.runs.open_run(workload=workload, intent="a", author=OPERATOR)
    await made.registration.add(spiffe_id=WORKLOAD, selectors=these("unix:uid:7"), author=OPERATOR)
    launched = f"launcher:run:{run.id}"
    assert ids(made, "unix:uid:7") == [WORKLOAD]
    assert ids(made, "unix:uid:7", launched) == []
    await made.registration.add(
        spiffe_id=WORKLOAD, selectors=these(launched), author=OPERATOR, run=run.id
    )
    matched = made.registration.entries_for(found("unix:uid:7", launched))
    assert [entry.run for entry in matched] == [run.id]


async def test_an_entry_of_a_run_ends_with_it(made: Registered) -> None:
    workload = await made.plane.inventory.get(WORKLOAD)
    run = await made.plane.runs.open_run(workload=workload, intent="a", author=OPERATOR)
    entry = await made.registration.add(
        spiffe_id=WORKLOAD, selectors=these("unix:uid:7"), author=OPERATOR, run=run.id
    )
    assert entry.expires_at == run.expires_at
    assert ids(made, "unix:uid:7") == [WORKLOAD]
    await made.registration.run_ended(run.id)
    assert ids(made, "unix:uid:7") == []
    await made.plane.runs.close_run(run.id, author=OPERATOR)
    with pytest.raises(Conflict):
        await made.registration.add(
            spiffe_id=WORKLOAD, selectors=these("unix:uid:7"), author=OPERATOR, run=run.id
        )


async def test_an_entry_ends_in_time_and_is_swept(made: Registered) -> None:
    await made.registration.add(
        spiffe_id=WORKLOAD, selectors=these("unix:uid:7"), author=OPERATOR, ttl_s=60
    )
    assert isinstance(made.plane.clock, FakeClock)
    made.plane.clock.advance(61)
    assert ids(made, "unix:uid:7") == []
    await made.registration.sweep()
    assert made.registration.list() == []


async def test_an_entry_may_be_removed_while_others_are_swept(made: Registered) -> None:
    first, second = [
        await made.registration.add(
            spiffe_id=WORKLOAD, selectors=these(f"unix:uid:{uid}"), author=OPERATOR, ttl_s=60
        )
        for uid in (7, 8)
    ]
    assert isinstance(made.plane.clock, FakeClock)
    made.plane.clock.advance(61)
    delete, deleted = made.plane.store.delete_entry, list[str]()

    async def slow(entry_id: str) -> bool:
        deleted.append(entry_id)
        if entry_id == first.id:
            with contextlib.suppress(NotFound):
                await made.registration.remove(second.id, OPERATOR)
        return await delete(entry_id)

    made.plane.store.delete_entry = slow
    await made.registration.sweep()
    assert set(deleted) == {first.id, second.id}
    assert made.registration.list() == []


async def test_workloads_by_uid_get_the_bundles_of_those_we_federate_with(
    made: Registered,
) -> None:
    registration = Registration(
        store=made.plane.store,
        recorder=made.plane.ledger,
        clock=made.plane.clock,
        inventory=made.plane.inventory,
        interruption=made.plane.interruption,
        federates_with=["partner.test"],
    )
    await registration.start()
    told: list[int] = []
    registration.on_changed(lambda: told.append(1))
    workload = await made.plane.inventory.get(WORKLOAD)
    await made.plane.inventory.register(msgspec.structs.replace(workload, uid=4242), OPERATOR)
    assert told
    assert [e.federates_with for e in registration.entries_for(found("unix:uid:4242"))] == [
        ("partner.test",)
    ]


async def test_entries_are_known_again_after_a_start(made: Registered) -> None:
    entry = await made.registration.add(
        spiffe_id=WORKLOAD, selectors=these("unix:uid:7"), author=OPERATOR
    )
    again = Registration(
        store=made.plane.store,
        recorder=made.plane.ledger,
        clock=made.plane.clock,
        inventory=made.plane.inventory,
        interruption=made.plane.interruption,
    )
    await again.start()
    assert again.entries_for(found("unix:uid:7")) == [entry]
    await again.remove(entry.id, OPERATOR)
    assert again.entries_for(found("unix:uid:7")) == []
    assert await made.plane.store.list_entries() == []


async def test_adding_and_removing_is_recorded_with_its_author(made: Registered) -> None:
    entry = await made.registration.add(
        spiffe_id=WORKLOAD, selectors=these("unix:uid:7"), author=OPERATOR
    )
    await made.registration.remove(entry.id, OPERATOR)
    records = await made.plane.records()
    changed = [r for r in records if isinstance(r, Changed) and r.what.startswith("entry.")]
    assert [r.what.split(" ")[0] for r in changed] == ["entry.add", "entry.remove"]
    assert {r.author for r in changed} == {OPERATOR.name}
    assert changed[0].details["selectors"] == ["unix:uid:7"]


async def test_a_join_token_lets_in_once(made: Registered) -> None:
    new = await made.join_tokens.create(WORKLOAD, OPERATOR)
    assert new.token not in repr(new)
    attested, entry = await made.join_tokens.redeem(new.token)
    assert entry.spiffe_id == WORKLOAD
    assert attested.selectors == {Selector(type="join_token", value=new.id)}
    assert entry.matches(attested.selectors)
    with pytest.raises(Unauthenticated):
        await made.join_tokens.redeem(new.token)


async def test_the_store_and_the_records_hold_no_join_token(made: Registered) -> None:
    new = await made.join_tokens.create(WORKLOAD, OPERATOR)
    (kept,) = await made.plane.store.list_join_tokens()
    assert new.token not in repr(kept)
    assert all(new.token not in repr(record) for record in await made.plane.records())


async def test_a_removed_join_token_lets_nobody_in(made: Registered) -> None:
    new = await made.join_tokens.create(WORKLOAD, OPERATOR)
    await made.join_tokens.remove(new.id, OPERATOR)
    with pytest.raises(Unauthenticated):
        await made.join_tokens.redeem(new.token)
    with pytest.raises(NotFound):
        await made.join_tokens.remove(new.id, OPERATOR)


@pytest.mark.parametrize("bad", ["", "mfjoin_", "mfjoin_x", "x" * 10_000, "mfjoin_\udc80", "é"])
async def test_what_is_no_join_token_is_refused(made: Registered, bad: str) -> None:
    with pytest.raises(Unauthenticated):
        await made.join_tokens.redeem(bad)


# A store or a ledger that does not answer


async def test_an_entry_that_no_record_explains_is_none_after_a_restart_either(
    made: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise LedgerUnavailable("The ledger cannot be written.")

    monkeypatch.setattr(made.registration, "_changed", refuse)
    with pytest.raises(LedgerUnavailable):
        await made.registration.add(
            spiffe_id=WORKLOAD, selectors=these("unix:uid:7"), author=OPERATOR
        )
    assert ids(made, "unix:uid:7") == []
    assert await made.plane.store.list_entries() == []


async def test_an_entry_that_the_store_did_not_forget_can_be_removed_again(
    made: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = await made.registration.add(
        spiffe_id=WORKLOAD, selectors=these("unix:uid:7"), author=OPERATOR
    )

    async def refuse(_: str) -> bool:
        raise StoreUnavailable("The store does not answer.")

    with monkeypatch.context() as patch:
        patch.setattr(made.plane.store, "delete_entry", refuse)
        with pytest.raises(StoreUnavailable):
            await made.registration.remove(entry.id, OPERATOR)
    assert ids(made, "unix:uid:7") == []  # without force from the first try on
    await made.registration.remove(entry.id, OPERATOR)
    assert await made.plane.store.list_entries() == []
