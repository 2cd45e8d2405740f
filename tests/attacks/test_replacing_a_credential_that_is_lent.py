"""A credential is replaced by one of another server: what the old one lent is not left behind."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from lease_kit import LeasePlane, credential

from midflight.domain.errors import Conflict, Interrupted, Unavailable
from midflight.domain.lease import LeaseState
from midflight.testing import OPERATOR

pytestmark = pytest.mark.anyio


@pytest.fixture
async def plane() -> AsyncIterator[LeasePlane]:
    made = LeasePlane()
    yield made
    await made.close()


async def test_while_its_leases_cannot_be_ended_it_stays(plane: LeasePlane) -> None:
    live = await plane.begin()
    held = await plane.lease(live)

    def away(verb: str, name: str) -> None:
        if verb == "revoke":
            raise Unavailable("Away.")

    plane.server.before = away
    await plane.broker.revoke(author=OPERATOR, credential="db")
    other = credential(ttl_s=120)
    with pytest.raises(Conflict):
        await plane.credentials.put(other, author=OPERATOR, replace=True)
    assert plane.credentials.get("db").ttl_s == 60
    plane.server.before = lambda _verb, _name: None
    await plane.broker.revoke(author=OPERATOR, credential="db")
    assert await plane.state(held) is LeaseState.REVOKED
    await plane.credentials.put(other, author=OPERATOR, replace=True)
    assert plane.credentials.get("db").ttl_s == 120


async def test_nobody_leases_it_while_it_is_being_taken_away(plane: LeasePlane) -> None:
    live = await plane.begin()
    with plane.credentials.closed("db"):
        with pytest.raises(Interrupted):
            await plane.ask(live)
        assert plane.server.accounts == {}
    await plane.lease(live)


async def test_what_ends_by_itself_is_not_called_over_by_another_backend(plane: LeasePlane) -> None:
    lasting = credential(settings={"revocability": "at_expiry"})
    held = await plane.lease(await plane.begin(lasting))
    await plane.broker.revoke(author=OPERATOR, credential="db")
    assert await plane.state(held) is LeaseState.REVOKING
    for other in ("immediate", "never"):
        with pytest.raises(Conflict, match="not over"):
            await plane.credentials.put(
                credential(settings={"revocability": other}), author=OPERATOR, replace=True
            )
    await plane.credentials.put(
        credential(settings={"revocability": "at_expiry"}, ttl_s=30), author=OPERATOR, replace=True
    )
    await plane.broker.sweep()
    assert await plane.state(held) is LeaseState.REVOKING
    plane.clock.advance(61)
    await plane.broker.sweep()
    assert await plane.state(held) is LeaseState.REVOKED
