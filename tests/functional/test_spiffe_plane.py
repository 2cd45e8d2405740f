"""SPIFFE of a whole plane: socket and bundle endpoint of `midflight up`, verbs of operators."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from control_kit import WORKLOAD, RunningPlane, running_plane, scripted
from counterpart_kit import in_child
from typer.testing import CliRunner

from midflight.apps.cli.main import app
from midflight.apps.compose import Plane
from midflight.apps.gateway.main import serving_plane
from midflight.apps.settings import load
from midflight.domain.identity import Author, Workload
from midflight.wire.spiffe import decode_bundle

RUNNER = CliRunner()
SCRIPT = """
import json, sys
from spiffe import WorkloadApiClient
with WorkloadApiClient(sys.argv[1]) as client:
    svid = client.fetch_x509_svid()
    token = client.fetch_jwt_svid(audience={"billing"})
    print(json.dumps([str(svid.spiffe_id), str(token.spiffe_id), f"{svid.leaf.serial_number:x}"]))
"""


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[RunningPlane]:
    with running_plane(tmp_path) as running:
        yield running


def cli(plane: RunningPlane, *words: str) -> Any:
    done = RUNNER.invoke(app, ["--config", str(plane.config), *words])
    assert done.exit_code == 0, done.output
    return done


def test_an_operator_mints_a_token_once_and_it_is_recorded_in_their_name(
    plane: RunningPlane,
) -> None:
    plane.register()
    words = ("svid", "mint", "--workload", "agents/triage", "--jwt", "--audience", "billing")
    token = cli(plane, *words).stdout.strip()
    assert plane.plane.spiffe.svids.validate_jwt(token, "billing").spiffe_id == WORKLOAD
    (record,) = plane.records("issued")
    assert record["what"] == "jwt-svid"
    assert record["subject"] == WORKLOAD
    assert record["proof"].startswith("operator:")
    assert token not in json.dumps(plane.client.get("/v1/records", count=1000))


def test_nobody_unregistered_is_minted_for(plane: RunningPlane) -> None:
    words = ["svid", "mint", "--workload", "agents/nobody", "--jwt", "--audience", "a"]
    done = RUNNER.invoke(app, ["--config", str(plane.config), *words])
    assert done.exit_code != 0
    assert "not registered" in done.output
    assert plane.records("issued") == []


def test_bundles_are_shown_and_the_authority_is_rotated(plane: RunningPlane) -> None:
    shown = cli(plane, "bundle", "show").stdout.encode()
    first = decode_bundle(shown, trust_domain="midflight.internal")
    assert len(first.x509_authorities) == 1
    assert "midflight.internal (ours)" in cli(plane, "bundle", "list").stdout
    cli(plane, "bundle", "rotate", "--root")
    second = decode_bundle(
        cli(plane, "bundle", "show").stdout.encode(), trust_domain="midflight.internal"
    )
    assert second.sequence > first.sequence
    assert second.x509_authorities[:1] == first.x509_authorities
    assert len(second.x509_authorities) == 2
    (record,) = [r for r in plane.records("changed") if r["what"].startswith("authority.")]
    assert record["what"] == "authority.rotate root"


@pytest.mark.spiffe
@pytest.mark.anyio
async def test_midflight_up_gives_a_local_process_its_identity_and_others_our_bundle(
    tmp_path: Path,
) -> None:
    sockets = Path(tempfile.mkdtemp(prefix="mf-"))
    config = tmp_path / "midflight.toml"
    config.write_text(
        f'[gateway]\nlisten = "127.0.0.1:0"\npublic_url = "http://127.0.0.1:8600"\n'
        f'[control]\nsocket = "{sockets}/c.sock"\n[spiffe]\nsocket = "{sockets}/w.sock"\n'
        '[[upstream]]\nname = "desk"\ncommand = "true"\n',
        encoding="utf-8",
    )
    import midflight  # noqa: PLC0415 -- for its package data

    pack = Path(midflight.__file__).parent / "policies" / "standard"
    shutil.copytree(pack, tmp_path / "policies" / "standard")
    settings = load(config)
    plane = Plane(settings, scripted(settings))
    try:
        async with plane.running(), serving_plane(plane) as bound:
            await plane.inventory.register(
                Workload(
                    id=WORKLOAD,
                    owner="ann",
                    escalation="oncall",
                    review_by=4_000_000_000,
                    uid=os.geteuid(),
                ),
                Author(name="olivia", proof="startup"),
            )
            done = await anyio.to_thread.run_sync(in_child, SCRIPT, f"unix://{sockets}/w.sock")
            assert done.returncode == 0, done.stderr[-2_000:]
            x509, jwt, serial = json.loads(done.stdout)
            assert x509 == jwt == WORKLOAD
            port = next(one.port for one in bound if one.name == "gateway")
            async with httpx2.AsyncClient(trust_env=False) as client:
                answer = await client.get(f"http://127.0.0.1:{port}/spiffe/bundle")
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "application/json"
            bundle = decode_bundle(answer.content, trust_domain="midflight.internal")
            assert bundle == plane.spiffe.bundles.own
            await plane.ledger.flush()
            records = [found.record for found in await plane.ledger.tail(1_000)]
            issued = [one for one in records if type(one).__name__ == "Issued"]
            assert serial in {one.id for one in issued}  # type: ignore[union-attr] # as filtered
        assert not (sockets / "w.sock").exists()
    finally:
        shutil.rmtree(sockets, ignore_errors=True)
