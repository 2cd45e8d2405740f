"""A plane whose keys are in a hardware module or a key service, and one that moves there."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt as pyjwt
import pytest
from control_kit import WORKLOAD, RunningPlane, running_plane, scripted
from counterpart_kit import OpenBao, openbao
from softhsm_kit import MISSING, SoftToken, installed, soft_token

from midflight.apps.compose import Plane
from midflight.apps.settings import load
from midflight.domain.errors import Misconfigured, Unavailable
from midflight.domain.key_ring import CACHE_S, MARGIN_S
from midflight.services.ports.keys import Purpose
from midflight.services.presented import Credentials
from midflight.testing import FakeClock

hsm = [pytest.mark.softhsm, pytest.mark.skipif(not installed(), reason=MISSING)]
BACKENDS = [
    pytest.param("pkcs11", marks=hsm),
    pytest.param("transit", marks=pytest.mark.openbao),
]


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with openbao(tmp_path_factory.mktemp("bao")) as server:
        server.call("POST", "sys/mounts/transit", {"type": "transit"})
        yield server


@pytest.fixture(scope="module")
def token() -> SoftToken:
    return soft_token()


@pytest.fixture(params=BACKENDS)
def backend(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, str, str]:
    """(name, settings of it, the secret that opens it)"""
    if request.param == "pkcs11":
        soft: SoftToken = request.getfixturevalue("token")
        monkeypatch.setenv("SOME_PIN", soft.pin)
        lines = f'module = "{soft.module}"\ntoken = "{soft.label}"\npin = "env:SOME_PIN"'
        return "pkcs11", f"[keys.pkcs11]\n{lines}\n", soft.pin
    server: OpenBao = request.getfixturevalue("bao")
    kept = tmp_path / "bao.token"
    kept.write_text(server.token)
    kept.chmod(0o600)
    return "transit", f'[keys.transit]\nurl = "{server.url}"\ntoken = "file:{kept}"\n', server.token


def identified(plane: RunningPlane, token: str) -> str:
    credentials = Credentials(
        authorization=(f"Bearer {token}",), method="POST", url="http://127.0.0.1:8600/mcp"
    )
    return plane.do(lambda: plane.plane.identity.identify(credentials)).workload


def ring(plane: RunningPlane) -> list[dict[str, Any]]:
    """Keys of the purpose that these tests are about; a plane has rings of others, too."""
    return [key for key in plane.client.get("/v1/keys") if key["purpose"] == "access-token"]


def minted(plane: RunningPlane) -> str:
    return str(plane.client.post("/v1/tokens", workload=WORKLOAD)["token"])


def test_tokens_come_from_where_the_keys_are_and_hold_after_a_restart(
    tmp_path: Path, backend: tuple[str, str, str]
) -> None:
    name, section, secret = backend
    extra = f'[keys]\nbackend = "{name}"\n{section}'
    with running_plane(tmp_path, extra=extra) as plane:
        plane.register()
        token = minted(plane)
        assert identified(plane, token) == WORKLOAD
        (key,) = ring(plane)
        assert (key["backend"], key["state"]) == (name, "current")
        with pytest.raises(Unavailable, match="must be waited for"):
            plane.plane.parts.token_signer.sign({}, {})
        told = json.dumps(plane.records("changed"))
    with running_plane(tmp_path, extra=extra) as plane:
        assert identified(plane, token) == WORKLOAD
        plane.client.post("/v1/keys/withdraw", kid=key["kid"])
        assert identified(plane, minted(plane)) == WORKLOAD
        told += json.dumps(plane.records("changed"))
    files = [path.read_bytes() for path in (tmp_path / ".midflight").rglob("*") if path.is_file()]
    assert secret not in told
    assert not any(secret.encode() in content for content in files)
    stored = json.loads((tmp_path / ".midflight" / "keys" / "signing-keys.json").read_text())
    assert '"d"' not in json.dumps(stored)  # nothing private is here


def test_a_plane_moves_to_another_backend_with_an_overlap(
    tmp_path: Path, backend: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, section, _ = backend
    with running_plane(tmp_path) as plane:
        plane.register()
        before = minted(plane)
    private = (tmp_path / ".midflight" / "keys" / "signing-keys.json").read_text()
    secret = json.loads(private)["rings"]["access-token"]["keys"][0]["handle"]["jwk"]["d"]
    with running_plane(tmp_path, extra=f'[keys]\nbackend = "{name}"\n{section}') as plane:
        keys = plane.plane.keys
        plane.do(keys.sweep)
        states = [(key["backend"], key["state"]) for key in ring(plane)]
        assert states == [("file", "current"), (name, "next")]
        kid = pyjwt.get_unverified_header(minted(plane))["kid"]
        assert kid == pyjwt.get_unverified_header(before)["kid"]
        clock = FakeClock(plane.plane.clock.now() + CACHE_S + MARGIN_S + 1)
        monkeypatch.setattr(keys, "_clock", clock)
        plane.do(keys.sweep)
        states = [(key["backend"], key["state"]) for key in ring(plane)]
        assert states == [(name, "current"), ("file", "retired")]
        assert identified(plane, before) == identified(plane, minted(plane)) == WORKLOAD
        changed = [
            r
            for r in plane.records("changed")
            if re.fullmatch(r"key[.]\w+ access-token", r["what"])
        ]
        assert [r["what"].split()[0] for r in changed] == ["key.announce", "key.rotate"]
        assert {r["author"] for r in changed} == {"midflight"}
    assert secret not in (tmp_path / ".midflight" / "keys" / "signing-keys.json").read_text()


def test_a_backend_that_is_taken_away_too_early_stops_the_start(
    tmp_path: Path, backend: tuple[str, str, str]
) -> None:
    name, section, _ = backend
    with running_plane(tmp_path, extra=f'[keys]\nbackend = "{name}"\n{section}'):
        pass
    file = tmp_path / "midflight.toml"
    file.write_text(file.read_text().replace(section, "").replace(f'backend = "{name}"', ""))
    settings = load(file)

    async def start() -> None:
        async with Plane(settings, scripted(settings)).running():
            pass

    with pytest.raises(Misconfigured, match="no such backend"):
        asyncio.run(start())


# Settings


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('backend = "hsm"', "keys.backend"),
        ('backend = "pkcs11"', "[keys.pkcs11] is not set"),
        ('backends = { set = "transit" }', "[keys.transit] is not set"),
        ('backends = { sets = "file" }', "keys.backends"),
        ('pkcs11 = { module = "m.so", token = "t", pin = "739146" }', "keys.pkcs11.pin"),
        ('pkcs11 = { module = "m.so", token = "t", pin = "s3cr3t:739146" }', "keys.pkcs11.pin"),
        ('pkcs11 = { module = "m.so", token = "t", pin = "Bearer env:PIN" }', "keys.pkcs11.pin"),
        ('pkcs11 = { module = "m.so", token = "", pin = "env:PIN" }', "keys.pkcs11.token"),
        ('transit = { url = "http://bao.example.org", token = "env:T" }', "in the clear"),
        ('transit = { url = "https://b.org", token = "env:T", mount = "../sys" }', "plain path"),
        ('transit = { url = "https://b.org", token = "env:T", prefix = "A/b" }', "plain path"),
        ('transit = { url = "https://b.org", token = "env:T", namespace = "a\\nb" }', "plain"),
        ('transit = { url = "https://b.org", token = "env:T", ca = "no.pem" }', "names no file"),
        ("rotate = true", "is not a setting"),
    ],
)
def test_settings_that_cannot_be_kept_are_refused_by_name(
    tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "midflight.toml"
    file.write_text(f"[keys]\n{text}\n")
    with pytest.raises(Misconfigured) as caught:
        load(file)
    told = " ".join(caught.value.problems)
    assert said in told
    assert "midflight.toml:" in told
    assert "739146" not in told


def test_backends_are_by_purpose(tmp_path: Path) -> None:
    file = tmp_path / "midflight.toml"
    file.write_text(
        '[keys]\nbackends = { "set" = "transit" }\n'
        '[keys.transit]\nurl = "https://bao.example.org/"\ntoken = "env:T"\n'
    )
    keys = load(file).keys
    assert (keys.of(Purpose.SET), keys.of(Purpose.ACCESS_TOKEN)) == ("transit", "file")
    assert [named for named, _ in keys.secrets()] == ["keys.transit.token"]
