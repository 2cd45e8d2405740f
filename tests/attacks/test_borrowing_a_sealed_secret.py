"""A sealed secret is of one credential: nobody lends it elsewhere, or takes it away by the way.

Through the real control socket; what is in the store is sealed by the plane's own key.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec
import pytest
from control_kit import RunningPlane, running_plane
from typer.testing import CliRunner

from midflight.apps.cli.main import app
from midflight.domain.errors import MidflightError, StoreUnavailable

SECRET = "the-precious-secret"
HEADER = {"placement": "header", "name": "X-Key"}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlane]:
    with running_plane(tmp_path_factory.mktemp("plane")) as running:
        yield running


def add(plane: RunningPlane, name: str, **more: Any) -> dict[str, Any]:
    fields = {"backend": "sealed", "upstreams": ["desk"], "injections": [], "settings": {}} | more
    return plane.client.post("/v1/credentials", name=name, **fields)


def opened(plane: RunningPlane, reference: str) -> str:
    async def work() -> str:
        return await plane.plane.sealed_secrets.open(reference.removeprefix("sealed:"))

    return plane.do(work)


def test_of_another_credential_is_refused_and_lives_on(plane: RunningPlane) -> None:
    reference = add(plane, "owner", sealed={"token": SECRET})["settings"]["token"]
    for settings in ({"token": reference}, {"token": reference, "more": "env:HOME"}):
        with pytest.raises(MidflightError, match="of no other"):
            add(plane, "thief", settings=settings)
    inside = {"url": "https://mine.example", "auth": {"method": "token", "token": reference}}
    with pytest.raises(MidflightError, match="of no other"):
        add(plane, "thief", backend="openbao", settings=inside)
    add(plane, "other", sealed={"token": "another-secret"})
    with pytest.raises(MidflightError, match="of no other"):
        add(plane, "other", settings={"token": reference}, replace=True)
    assert opened(plane, reference) == SECRET
    plane.client.post("/v1/credentials/other/remove")
    assert opened(plane, reference) == SECRET


def test_of_its_own_credential_stays_when_that_is_replaced(plane: RunningPlane) -> None:
    reference = add(plane, "kept", sealed={"token": SECRET})["settings"]["token"]
    again = add(plane, "kept", settings={"token": reference}, ttl_s=60, replace=True)
    assert again["settings"] == {"token": reference}
    assert opened(plane, reference) == SECRET
    new = add(plane, "kept", sealed={"token": "a-new-secret"}, replace=True)["settings"]["token"]
    assert new != reference
    with pytest.raises(MidflightError, match="no sealed secret"):
        opened(plane, reference)
    plane.client.post("/v1/credentials/kept/remove")
    with pytest.raises(MidflightError, match="no sealed secret"):
        opened(plane, new)


def test_inside_of_a_group_it_is_found_and_goes_with_its_credential(plane: RunningPlane) -> None:
    words = (
        "credential add bao --backend openbao --upstream desk --set url=https://bao.example:8200 "
        '--set path=database/creds/ro --set policies=["ro"] --set auth.method=token '
        "--secret auth.token=sealed --json"
    )
    made = CliRunner().invoke(
        app, ["--config", str(plane.config), *words.split()], input=f"{SECRET}\n"
    )
    assert made.exit_code == 0, made.output
    assert SECRET not in made.output
    reference = msgspec.json.decode(made.stdout)["settings"]["auth"]["token"]
    assert opened(plane, reference) == SECRET
    plane.client.post("/v1/credentials/bao/remove")
    with pytest.raises(MidflightError, match="no sealed secret"):
        opened(plane, reference)


@pytest.mark.parametrize(
    ("settings", "sealed"),
    [
        ({"token": "env:HOME"}, {"token": SECRET}),
        ({"auth": {"token": "env:HOME"}}, {"auth.token": SECRET}),
        ({"auth": "text"}, {"auth.token": SECRET}),
        ({}, {"auth": SECRET, "auth.token": SECRET}),
        ({}, {"auth..token": SECRET}),
        ({}, {"": SECRET}),
    ],
)
def test_a_secret_that_stands_in_two_places_is_refused_unsealed(
    plane: RunningPlane, settings: dict[str, Any], sealed: dict[str, str]
) -> None:
    with pytest.raises(MidflightError) as refused:
        add(plane, "twice", settings=settings, sealed=sealed)
    assert SECRET not in str(refused.value)


def test_a_row_that_is_moved_cut_or_exchanged_does_not_open(plane: RunningPlane) -> None:
    ids = [
        add(plane, name, sealed={"token": f"{SECRET} of {name}"})["settings"]["token"][7:]
        for name in ("one", "two")
    ]
    store = plane.plane.parts.store

    async def rows() -> list[Any]:
        return [await store.get_sealed_secret(each) for each in ids]

    async def exchanged(row: Any) -> None:
        await store.delete_sealed_secret(row.id)
        await store.put_sealed_secret(row)

    one, two = plane.do(rows)
    assert SECRET.encode() not in one.box + one.wrapped
    for changed in (
        {"box": two.box},
        {"wrapped": two.wrapped},
        {"box": two.box, "wrapped": two.wrapped},
        {"box": one.box[:12]},
        {"box": b""},
        {"wrapped": b""},
        {"box": one.box[:-1] + bytes([one.box[-1] ^ 1])},
    ):
        plane.do(partial(exchanged, msgspec.structs.replace(one, **changed)))
        with pytest.raises(StoreUnavailable) as refused:
            opened(plane, ids[0])
        assert SECRET not in str(refused.value)
