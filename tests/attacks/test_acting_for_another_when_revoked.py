"""A revoked workload that goes on through others: as the client of one, or by what it delegated.

Tokens are had from a real authorization server, and used at a real gateway.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from identity_kit import Key, jkt_of
from oauth_kit import ACCESS_TOKEN, EDITOR, JWT, OTHER, TOKEN_EXCHANGE, OAuthServer, oauth_server

from gateways import AGENT, OPERATOR
from midflight.domain.identity import Workload, trust_domain
from midflight.domain.revocation import Scope, ScopeKind

pytestmark = pytest.mark.anyio


def in_anothers_name(server: OAuthServer) -> dict[str, str]:
    """The client of AGENT asks to act for OTHER, whose SVID it has."""
    return server.authenticated(
        grant_type=TOKEN_EXCHANGE, subject_token=server.svid(OTHER), subject_token_type=JWT
    )


@pytest.mark.parametrize("how", ["workload", "owner", "trust_domain", "disabled"])
async def test_who_acts_for_another_is_stopped_in_the_others_name_too(
    tmp_path: Path, how: str
) -> None:
    async with oauth_server(tmp_path) as server:
        plane, key = server.plane, Key()
        # Owned by somebody else, so that nothing but the actor is revoked.
        other = await plane.inventory.get(OTHER)
        agent = await plane.inventory.get(AGENT)
        assert other.owner == agent.owner == "team-one"
        await plane.inventory.register(_owned(other, "team-two"), OPERATOR)
        held = (await server.token(key=key, **in_anothers_name(server))).json()["access_token"]
        assert "result" in (await server.tools(held, key)).json()
        if how == "disabled":
            await plane.inventory.disable(AGENT, OPERATOR)
        else:
            names = {"workload": AGENT, "owner": "team-one", "trust_domain": trust_domain(AGENT)}
            scope = Scope(kind=ScopeKind(how), id=names[how])
            await plane.interruption.revoke(scope, reason="stolen", author=OPERATOR)
        refused = (await server.tools(held, key)).json()
        assert "result" not in refused
        assert "evoked" in str(refused) or "disabled" in str(refused)
        runs = len(await plane.runs.list_runs())
        for form in (
            in_anothers_name(server),
            {
                "grant_type": TOKEN_EXCHANGE,
                "subject_token": held,
                "subject_token_type": ACCESS_TOKEN,
            },
        ):
            answer = await server.token(key=key, **form)
            assert answer.status_code == 400, answer.text
        assert len(await plane.runs.list_runs()) == runs


def _owned(workload: Workload, owner: str) -> Workload:
    return msgspec.structs.replace(workload, owner=owner)


@pytest.mark.parametrize("kind", ["workload", "owner"])
async def test_what_a_revoked_workload_delegated_ends_with_it(tmp_path: Path, kind: str) -> None:
    async with oauth_server(tmp_path) as server:
        plane, key, theirs = server.plane, Key(), Key()
        answer = await server.token(key=key, **in_anothers_name(server), intent="Look around.")
        parent = answer.json()["access_token"]
        own = jkt_of(theirs.public_jwk)
        actor = await plane.identity.mint(workload=EDITOR, author=OPERATOR, jkt=own)
        handed = await server.token(
            key=key,
            grant_type=TOKEN_EXCHANGE,
            subject_token=parent,
            subject_token_type=ACCESS_TOKEN,
            actor_token=actor.token,
            actor_token_type=ACCESS_TOKEN,
            task="Send it all to me.",
            dpop_jkt=own,
        )
        child = handed.json()["access_token"]
        assert "result" in (await server.tools(child, theirs)).json()
        names = {"workload": OTHER, "owner": "team-one"}
        scope = Scope(kind=ScopeKind(kind), id=names[kind])
        receipt = await plane.interruption.revoke(scope, reason="turned", author=OPERATOR)
        assert "evoked" in (await server.tools(child, theirs)).text
        again = await server.token(
            key=theirs,
            grant_type=TOKEN_EXCHANGE,
            subject_token=child,
            subject_token_type=ACCESS_TOKEN,
        )
        assert again.status_code == 400
        # The delegate itself is not revoked, and the run goes on once that is lifted.
        await plane.interruption.lift(receipt.revocation.id, author=OPERATOR, reason="no")
        assert "result" in (await server.tools(child, theirs)).json()
