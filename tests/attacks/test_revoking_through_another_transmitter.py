"""A transmitter that is known reaches whom its row lists: nobody else, and never everything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from set_kit import IDP, SECRET, Listening, claims_of, idp_key, listening, row, set_of, subject

from gateways import AGENT
from midflight.apps.settings_ssf import ReceiveSection
from midflight.domain.records import Changed

pytestmark = pytest.mark.anyio

HR = "https://hr.example.org"
BOT = "spiffe://midflight.internal/bots/payroll"


def rows(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    secret = folder / "hr.secret"
    secret.write_text("of-hr")
    one = row(folder)
    other = {
        **one,
        "name": "hr",
        "issuer": HR,
        "push_secret": f"file:{secret}",
        "workloads": (BOT,),
        "names": {"eve@example.org": "owner eve"},
        "tokens": False,
    }
    return one, other


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Listening]:
    async with listening(tmp_path, *rows(tmp_path)) as running:
        yield running


async def outcome(here: Listening, name: str) -> str:
    found = await here.plane.parts.store.last_ssf_sets(name, limit=1)
    return found[0].outcome


async def hr(here: Listening, sub_id: dict[str, Any]) -> None:
    claims = claims_of(iss=HR, sub_id=sub_id)
    assert (await here.push(set_of(claims), to="hr", secret="of-hr")).status_code == 202


async def test_a_transmitter_reaches_nobody_of_anothers_row(here: Listening) -> None:
    own = here.plane.settings.issuer
    run = await here.gateway.open_run()
    for sub_id in (
        subject(AGENT, HR),
        subject(AGENT, own),
        subject(AGENT, IDP),
        subject(BOT, IDP),
        subject(BOT + "x", HR),
        {"format": "email", "email": "ann@example.org"},
        {"format": "email", "email": "EVE@example.org"},
        {"format": "opaque", "id": "dev-7"},
        {"format": "jwt_id", "iss": own, "jti": "tok"},
        {"format": "complex", "session": {"format": "opaque", "id": run}},
        {"format": "complex", "tenant": {"format": "opaque", "id": "midflight.internal"}},
        {"format": "complex", "tenant": subject(BOT, HR)},
        {"format": "did", "url": "did:example:1"},
        {"format": "opaque", "id": "everything"},
    ):
        await hr(here, sub_id)
        assert here.revoked() == [], sub_id
        assert await outcome(here, "hr") == "noted: about nobody this transmitter may speak of"
    notes = [each for each in await here.records(Changed) if each.author == "ssf:hr"]
    assert len(notes) == 14
    await hr(here, subject(BOT, HR))
    assert [scope for scope, _, _ in here.revoked()] == [f"workload {BOT}"]


async def test_the_door_of_one_transmitter_takes_no_set_of_another(here: Listening) -> None:
    """Both sign with the same key here, so nothing but the issuer tells them apart."""
    sets = set_of(claims_of()), set_of(claims_of(iss=HR))
    refused = await here.push(sets[0], to="hr", secret="of-hr")
    assert refused.json()["err"] == "invalid_issuer"
    refused = await here.push(sets[1])
    assert refused.json()["err"] == "invalid_issuer"
    for secret, name in ((SECRET, "hr"), ("of-hr", "idp")):
        refused = await here.push(sets[0], to=name, secret=secret)
        assert refused.json()["err"] == "authentication_failed"
    assert here.revoked() == []


async def test_the_same_jti_of_two_transmitters_is_two_events(here: Listening) -> None:
    assert (await here.push(set_of(claims_of(jti="same")))).status_code == 202
    claims = claims_of(jti="same", iss=HR, sub_id=subject(BOT, HR))
    assert (await here.push(set_of(claims), to="hr", secret="of-hr")).status_code == 202
    assert len(here.revoked()) == 2


@pytest.mark.parametrize(
    "more",
    [
        {"names": {"x": "everything"}},
        {"names": {"x": "everything all"}},
        {"names": {"x": "trust_domain midflight.internal"}},
        {"names": {"x": "upstream crm"}},
        {"names": {"x": "owner "}},
        {"workloads": ("spiffe://midflight.internal/*",)},
        {"workloads": ("*",)},
        {"effects": {"session-revoked": "everything"}},
        {"effects": {"all": "revoke"}},
        {"algorithms": ("ES256",)},
        {"push_secret": "written here"},
        {"push_secret": None},
        {"issuer": "http://idp.example.org"},
    ],
    ids=str,
)
def test_no_row_can_give_a_transmitter_more(tmp_path: Path, more: dict[str, Any]) -> None:
    assert idp_key().public_jwk
    ReceiveSection(**row(tmp_path))
    with pytest.raises(ValidationError):
        ReceiveSection(**{**row(tmp_path), **more})
