"""As `test_broker_crash.py`, with backends of other kinds: each ends what it can, when it can.

OpenBao (the real one) finds the token by its mark and ends it. A certificate of SSH cannot be taken
back: its lease waits for its end, unused, and is no alarm. A static secret has nothing to end.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from counterpart_kit import OpenBao, openbao
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from lease_kit import LeasePlane, credential
from mortal_kit import Die, LateClock, Mortal, MortalBackend, MortalStore, killed
from store_kit import with_schema

from midflight.apps.compose_broker import MAKERS
from midflight.domain.lease import LeaseState
from midflight.services.ports.credential_backend import CredentialBackend
from midflight.services.ports.secret_reader import Setup
from midflight.testing import OPERATOR

pytestmark = [pytest.mark.anyio, pytest.mark.openbao]

MOMENTS = ("after create_lease", "after issue", "after activate_lease", "after revoke")


def plane_on(folder: Path, die: Die | None = None) -> LeasePlane:
    store = MortalStore(folder / "midflight.sqlite3")
    makers: dict[str, Any] = dict(MAKERS)
    if die is not None:
        store.die = die  # type: ignore[method-assign]

        def mortal(kind: str) -> Any:
            def make(setup: Setup) -> CredentialBackend:
                return MortalBackend(MAKERS[kind](setup), die)

            return make

        makers = {kind: mortal(kind) for kind in MAKERS}
    return LeasePlane(store=store, clock=LateClock(), makers=makers)


async def live_and_die(folder: Path, fields: dict[str, Any], moment: str) -> None:
    """What the child does: lend and take back; it dies on the way."""
    plane = plane_on(folder, Mortal(moment))
    scopes = tuple(fields.pop("scopes"))
    live = await plane.begin(credential(injections=(), **{**fields, "scopes": scopes}))
    await plane.lease(live)
    await plane.runs.close_run(live.run.id, author=OPERATOR)
    await plane.settle()


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with openbao(tmp_path_factory.mktemp("bao")) as server:
        server.call("POST", "sys/policies/acl/reader", {"policy": 'path "kv/*" {capabilities=[]}'})
        yield server


def private(folder: Path, name: str, text: str) -> str:
    place = folder / name
    place.touch(0o600)
    place.write_text(text)
    return f"file:{place}"


def marked(bao: OpenBao) -> list[str]:
    """Leases whose tokens exist."""
    found: list[str] = []
    for accessor in bao.call("GET", "auth/token/accessors?list=true")["data"]["keys"]:
        answer = bao.ask("POST", "auth/token/lookup-accessor", {"accessor": accessor})
        meta = (answer.json().get("data") or {}).get("meta") or {}
        found += [meta["midflight_lease"]] if "midflight_lease" in meta else []
    return found


async def restarted(folder: Path) -> LeasePlane:
    after = plane_on(folder)
    await after.store.open()
    await after.ledger.start("test", "fixed")
    await after.broker.start()
    return after


async def stopped(plane: LeasePlane) -> None:
    await plane.broker.close()
    await plane.ledger.close()
    await plane.store.close()


@pytest.mark.parametrize("moment", MOMENTS)
async def test_openbao_has_no_token_of_it_left(bao: OpenBao, tmp_path: Path, moment: str) -> None:
    root = private(tmp_path, "root", bao.token)
    fields = {
        "backend": "openbao",
        "scopes": ["reader"],
        "settings": {
            "url": bao.url,
            "kind": "token",
            "auth": {"method": "token", "token": root},
        },
    }
    await killed(__file__, str(with_schema(tmp_path)), json.dumps(fields), moment)
    if moment in ("after issue", "after activate_lease"):
        assert len(marked(bao)) == 1, "the kill was to leave a token behind"
    after = await restarted(tmp_path)
    assert marked(bao) == []
    assert [lease.state for lease in await after.store.list_leases()] == [LeaseState.REVOKED]
    assert after.broker.stuck == 0
    await stopped(after)


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_certificate_is_used_no_more_and_waited_for(tmp_path: Path, moment: str) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    fields = {
        "backend": "ssh",
        "scopes": ["deploy"],
        "settings": {"ca_key": private(tmp_path, "ca", pem)},
    }
    await killed(__file__, str(with_schema(tmp_path)), json.dumps(fields), moment)
    after = await restarted(tmp_path)
    (left,) = await after.store.list_leases()
    assert (left.state, left.stuck) == (LeaseState.REVOKING, False)
    assert "ends by itself" in left.error
    assert isinstance(after.clock, LateClock)
    after.clock.ahead = 3_600.0
    await after.broker.sweep()
    (left,) = await after.store.list_leases()
    assert (left.state, after.broker.stuck) == (LeaseState.REVOKED, 0)
    await stopped(after)


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_static_secret_is_lent_to_nobody_any_more(tmp_path: Path, moment: str) -> None:
    settings = {"token": private(tmp_path, "static", "the-static-secret")}
    fields = {"backend": "sealed", "scopes": [], "settings": settings}
    await killed(__file__, str(with_schema(tmp_path)), json.dumps(fields), moment)
    after = await restarted(tmp_path)
    assert [lease.state for lease in await after.store.list_leases()] == [LeaseState.REVOKED]
    await stopped(after)
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("midflight.sqlite3*"))
    assert b"the-static-secret" not in kept


if __name__ == "__main__":
    asyncio.run(live_and_die(Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]))
    sys.exit("it was to die")
