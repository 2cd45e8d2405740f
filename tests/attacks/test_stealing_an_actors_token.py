"""A delegator with a token of another workload that is bound to that one's key: who may use it.

Parent runs are real ones; the thief does everything that the token endpoint lets him.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import jwt as pyjwt
import pytest
from identity_kit import Key, jkt_of
from oauth_kit import (
    ACCESS_TOKEN,
    EDITOR,
    JWT,
    OTHER,
    TOKEN_EXCHANGE,
    OAuthServer,
    oauth_server,
)

from gateways import OPERATOR
from midflight.services.token_mint import Given

pytestmark = pytest.mark.anyio


async def parent_of(server: OAuthServer, key: Key) -> str:
    """A token of a run with an intent, bound to `key`."""
    answer = await server.token(
        key=key,
        **server.authenticated(
            grant_type=TOKEN_EXCHANGE,
            subject_token=server.svid(OTHER),
            subject_token_type=JWT,
            intent="Answer the tickets of today.",
        ),
    )
    assert answer.status_code == 200, answer.text
    return answer.json()["access_token"]


async def actor_of(server: OAuthServer, key: Key | None, **given: Any) -> str:
    """A token of another workload, without a run."""
    minted = await server.plane.identity.mint(
        workload=EDITOR,
        author=OPERATOR,
        jkt=None if key is None else jkt_of(key.public_jwk),
        given=Given(client=EDITOR, **given),
    )
    return minted.token


async def handed_on(
    server: OAuthServer, key: Key, parent: str, actor: str, **form: str
) -> tuple[int, dict[str, Any]]:
    answer = await server.token(
        key=key,
        grant_type=TOKEN_EXCHANGE,
        subject_token=parent,
        subject_token_type=ACCESS_TOKEN,
        actor_token=actor,
        actor_token_type=ACCESS_TOKEN,
        task="Read one of them.",
        **form,
    )
    if answer.status_code != 200:
        return answer.status_code, answer.json()
    text = answer.json()["access_token"]
    return 200, pyjwt.decode(text, options={"verify_signature": False})


async def test_a_bound_token_of_an_actor_is_not_bound_to_the_thiefs_key(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        thief, owner = Key(), Key()
        parent, stolen = await parent_of(server, thief), await actor_of(server, owner)
        another = jkt_of(Key().public_jwk)
        for form in ({}, {"dpop_jkt": jkt_of(thief.public_jwk)}, {"dpop_jkt": another}):
            status, answer = await handed_on(server, thief, parent, stolen, **form)
            assert (status, answer["error"]) == (400, "invalid_dpop_proof")
        assert len(await server.plane.runs.list_runs()) == 1  # nor was anything begun
        own = jkt_of(owner.public_jwk)
        status, claims = await handed_on(server, thief, parent, stolen, dpop_jkt=own)
        assert (status, claims["cnf"]) == (200, {"jkt": own})


async def test_handing_on_gives_no_more_than_the_actors_token_has(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        key = Key()
        parent = await parent_of(server, key)
        actor = await actor_of(server, None, scope=("mcp:git",))
        status, claims = await handed_on(server, key, parent, actor)
        assert (status, claims["scope"]) == (200, "mcp:git")
        status, answer = await handed_on(server, key, parent, actor, scope="mcp")
        assert (status, answer["error"]) == (400, "invalid_scope")


async def test_what_is_handed_on_ends_with_the_actors_token(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        key, soon = Key(), int(time.time()) + 40
        parent = await parent_of(server, key)
        actor = await actor_of(server, None, until=soon)
        status, claims = await handed_on(server, key, parent, actor)
        assert status == 200
        assert claims["exp"] <= soon
