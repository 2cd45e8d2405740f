"""`midflight keys`: listed, rotated with an overlap, withdrawn at once, and all of it recorded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import jwt as pyjwt
import pytest
from control_kit import OPERATOR, WORKLOAD, RunningPlane, running_plane
from typer.testing import CliRunner, Result

from gateways import running_gateway
from midflight.apps.cli.main import app
from midflight.domain.errors import Unauthenticated
from midflight.domain.key_ring import CACHE_S, MARGIN_S
from midflight.services.ports.keys import Purpose
from midflight.services.presented import Credentials

RUNNER = CliRunner()


@pytest.fixture
def plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningPlane]:
    with running_plane(tmp_path) as running:
        monkeypatch.chdir(tmp_path)
        yield running


def midflight(*words: str) -> Result:
    return RUNNER.invoke(app, list(words))


def good(*words: str) -> Any:
    result = midflight(*words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def token_of(plane: RunningPlane) -> str:
    plane.register()
    return str(plane.client.post("/v1/tokens", workload=WORKLOAD)["token"])


def identified(plane: RunningPlane, token: str) -> str:
    credentials = Credentials(
        authorization=(f"Bearer {token}",), method="POST", url="http://127.0.0.1:8600/mcp"
    )
    return plane.do(lambda: plane.plane.identity.identify(credentials)).workload


def ring() -> list[dict[str, Any]]:
    """Keys of the purpose that these tests are about; a plane has rings of others, too."""
    return [key for key in good("keys", "list") if key["purpose"] == "access-token"]


def changes(plane: RunningPlane) -> list[dict[str, Any]]:
    """Records of what happened to that ring."""
    records = plane.records("changed")
    return [r for r in records if re.fullmatch(r"key[.]\w+ access-token", r["what"])]


def test_a_rotation_is_announced_and_signs_nothing_yet(plane: RunningPlane) -> None:
    (before,) = ring()
    assert (before["purpose"], before["state"]) == ("access-token", "current")
    (rotation,) = good("keys", "rotate", "access-token")
    current, coming = ring()
    assert current["kid"] == before["kid"]
    assert (coming["kid"], coming["state"]) == (rotation["kid"], "next")
    assert coming["signs_from"] == rotation["signs_from"] == coming["since"] + CACHE_S + MARGIN_S
    assert pyjwt.get_unverified_header(token_of(plane))["kid"] == before["kid"]
    # Again, and it is the same one.
    assert rotation in good("keys", "rotate")
    recorded, _ = changes(plane)
    assert recorded["what"] == "key.announce access-token"
    assert recorded["author"] == OPERATOR
    assert recorded["details"]["kid"] == rotation["kid"]


def test_an_emergency_signs_at_once_and_says_what_breaks(plane: RunningPlane) -> None:
    old = token_of(plane)
    shown = midflight("keys", "rotate", "--now")
    assert shown.exit_code == 0
    assert "refuses" in shown.stdout + shown.stderr
    new = token_of(plane)
    kids = [pyjwt.get_unverified_header(token)["kid"] for token in (old, new)]
    assert kids[0] != kids[1]
    states = {key["kid"]: key["state"] for key in ring()}
    assert [states[kid] for kid in kids] == ["retired", "current"]
    # What the key before signed still holds.
    assert identified(plane, old) == identified(plane, new) == WORKLOAD


def test_a_withdrawn_key_takes_every_token_with_it(plane: RunningPlane) -> None:
    token = token_of(plane)
    assert identified(plane, token) == WORKLOAD  # and is remembered as verified
    kid = pyjwt.get_unverified_header(token)["kid"]
    found = good("keys", "withdraw", kid)
    with pytest.raises(Unauthenticated):
        identified(plane, token)
    (left,) = ring()
    assert found == {"purpose": "access-token", "kid": kid, "signs": left["kid"]}
    assert identified(plane, token_of(plane)) == WORKLOAD
    (recorded,) = changes(plane)
    assert recorded["what"] == "key.withdraw access-token"
    assert recorded["author"] == OPERATOR
    assert recorded["details"] == {"kid": kid, "signs": left["kid"]}
    again = midflight("keys", "withdraw", kid)
    assert again.exit_code != 0
    assert "No ring has a key" in again.stderr


def test_what_is_not_there_is_told(plane: RunningPlane) -> None:
    del plane
    assert "no keys for set" in midflight("keys", "rotate", "set").stderr
    assert midflight("keys", "rotate", "nonsense").exit_code != 0


def test_people_see_a_table(plane: RunningPlane) -> None:
    del plane
    good("keys", "rotate")
    shown = midflight("keys", "list")
    assert shown.exit_code == 0
    for word in ("access-token", "current", "next", "ES256", "file"):
        assert word in shown.stdout


def test_keys_survive_a_restart_and_nothing_private_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with running_plane(tmp_path) as plane:
        token = token_of(plane)
        good("keys", "rotate")
        listed = good("keys", "list")
    stored = (tmp_path / ".midflight" / "keys" / "signing-keys.json").read_text()
    with running_plane(tmp_path) as plane:
        assert good("keys", "list") == listed
        assert identified(plane, token) == WORKLOAD
        private = [
            key["handle"]["jwk"]["d"] for key in json.loads(stored)["rings"]["access-token"]["keys"]
        ]
        assert len(private) == 2
        told = json.dumps(plane.records("changed")) + repr(plane.plane.keys.list())
        assert not any(secret in told for secret in private)


@pytest.mark.anyio
async def test_the_key_set_may_be_cached_and_holds_no_svid_key(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, []) as gateway:
        rings = gateway.plane.keys
        for purpose in (Purpose.JWT_SVID, Purpose.SET):
            rings.want(purpose)
        await rings.start(gateway.plane.ledger)
        async with httpx2.AsyncClient(trust_env=False) as http:
            answer = await http.get(f"{gateway.url}/.well-known/jwks.json")
    assert answer.headers.get_list("cache-control") == ["public, max-age=300"]
    keys = answer.json()["keys"]
    # Those of SETs are in a set of their own, so that no verifier of tokens takes a SET for one.
    assert {(key["use"], key["alg"]) for key in keys} == {("sig", "ES256")}
    assert {key["kid"] for key in keys}.isdisjoint(
        key["kid"] for key in rings.jwks(Purpose.JWT_SVID, Purpose.SET)["keys"]
    )
    for key in keys:
        assert not {"d", "p", "q", "dp", "dq", "qi", "k", "oth"} & key.keys()
