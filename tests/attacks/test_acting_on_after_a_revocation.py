"""Whoever acts for another workload is revoked, and goes on in that one's name.

The token says who acts (`act`, RFC 8693 §4.1) and is of the other workload, which is in order.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from draft_kit import CLIENT, NEXT, Drafts, drafts, error_of, unverified_claims
from identity_kit import Key
from oauth_kit import JWT, OTHER, TOKEN_EXCHANGE

from gateways import OPERATOR
from midflight.domain.identity import Workload
from midflight.domain.revocation import Scope, ScopeKind

pytestmark = pytest.mark.anyio

OWNER = "team-of-the-actor"
HOW = pytest.mark.parametrize("how", ["revoked", "its owner is revoked", "disabled"])


async def owned(made: Drafts) -> None:
    """The actor is of somebody else than the workload that it acts for."""
    await made.server.plane.inventory.register(
        Workload(id=OTHER, owner=OWNER, escalation="oncall", review_by=int(time.time()) + 86_400),
        OPERATOR,
    )


async def end(made: Drafts, how: str) -> None:
    """The actor is in no good standing any more."""
    plane = made.server.plane
    if how == "disabled":
        await plane.inventory.disable(OTHER, OPERATOR)
        return
    scope = Scope(kind=ScopeKind.WORKLOAD, id=OTHER)
    if how != "revoked":
        scope = Scope(kind=ScopeKind.OWNER, id=OWNER)
    await plane.interruption.revoke(scope, reason="stolen", author=OPERATOR)


async def acting(made: Drafts, key: Key) -> Any:
    """The actor asks for a token in the name of the agent."""
    return await made.server.token(
        key=key,
        grant_type=TOKEN_EXCHANGE,
        subject_token=made.server.svid(),
        subject_token_type=JWT,
        **made.as_client(NEXT),
    )


@HOW
async def test_with_the_token_that_he_has(tmp_path: Path, how: str) -> None:
    async with drafts(tmp_path) as made:
        await owned(made)
        key = Key()
        token = (await acting(made, key)).json()["access_token"]
        assert unverified_claims(token)["act"] == {"sub": OTHER}
        assert (await made.server.tools(token, key)).status_code == 200

        async def told() -> bool:
            form = {"token": token, **made.as_client(CLIENT)}
            return (await made.server.post("/oauth/introspect", form)).json()["active"]

        assert await told()
        await end(made, how)
        answer = await made.server.tools(token, key)
        assert "error" in answer.json(), answer.text
        assert not await told()


@HOW
async def test_with_a_new_token(tmp_path: Path, how: str) -> None:
    async with drafts(tmp_path) as made:
        await owned(made)
        assert (await acting(made, Key())).status_code == 200
        await end(made, how)
        answer = await acting(made, Key())
        assert answer.status_code in {400, 403}, answer.text


@HOW
async def test_with_a_transaction_that_he_asked_for(tmp_path: Path, how: str) -> None:
    async with drafts(tmp_path) as made:
        await owned(made)
        token = await made.transaction(Key())
        token = (await made.replace(token, client=NEXT)).json()["access_token"]
        assert (await made.replace(token, client=CLIENT)).status_code == 200
        await end(made, how)
        answer = await made.replace(token, client=CLIENT)
        assert error_of(answer) == (400, "invalid_request")
