"""docs/shared-signals.md: its settings load, its commands run, its stream can be made."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from control_kit import RunningPlane, running_plane
from identity_kit import Key
from ssf_kit import REVOKED, receiver, transmitter
from typer.testing import CliRunner

from midflight.apps.cli.main import app
from midflight.apps.settings import load
from midflight.domain.revocation import Scope, ScopeKind
from midflight.domain.shared_receiver import Effect
from midflight.domain.shared_stream import Method, StreamWish
from midflight.testing.words import OPERATOR as AUTHOR

DOCS = Path(__file__).parents[2] / "docs" / "shared-signals.md"
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
TOML = "\n".join(text for kind, text in BLOCKS if kind == "toml")
# Nobody is asked by a test.
HERE = re.sub(r'(endpoint|token_url) = "[^"]+"', r'\1 = "https://127.0.0.1:9/x"', TOML)


def settings_in(folder: Path) -> str:
    for name in ("idp-push.secret", "idp-client.secret"):
        (folder / name).write_text("secret")
        (folder / name).chmod(0o600)
    return HERE


def midflight(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


def good(*words: str) -> Any:
    result = midflight(*words)
    assert result.exit_code == 0, result.stderr
    return result


def test_the_settings_of_the_page_load(tmp_path: Path) -> None:
    settings_in(tmp_path)
    (tmp_path / "midflight.toml").write_text(TOML, encoding="utf-8")
    ssf = load(tmp_path / "midflight.toml").ssf
    assert ssf.transmit
    (row,) = ssf.receive
    assert row.all_effects()["credential-change"] is Effect.REVOKE
    assert row.all_effects()["session-revoked"] is Effect.REVOKE
    assert str(row.scopes()["email ann@example.org"]) == "owner ann"


@pytest.mark.anyio
async def test_the_stream_of_the_page_can_be_made(tmp_path: Path) -> None:
    (asked,) = [json.loads(text) for kind, text in BLOCKS if kind == "json"]
    async with transmitter(tmp_path) as server:
        soc = await (await receiver(server)).log_in()
        answer = await soc.call("POST", "/ssf/stream", json=asked)
        assert answer.status_code == 201
        assert answer.json()["description"] == "SOC"


def test_the_commands_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("soc.jwks").write_text(json.dumps({"keys": [{**Key().public_jwk, "kid": "k1"}]}))
    commands = [
        shlex.split(line.removeprefix("$ midflight "))
        for kind, text in BLOCKS
        if kind == "console"
        for line in text.splitlines()
    ]
    assert len(commands) == 6
    with running_plane(tmp_path, extra=settings_in(tmp_path)):
        ran = [good(*words) for words in commands]
        told = [each.stdout for each in ran]
        assert "Nobody has a stream" in ran[2].stderr
        assert json.loads(told[3]) == []
        assert "idp" in told[4]
        assert len(told[5].strip()) == 26
        (client,) = json.loads(good("client", "list", "--json").stdout)
        assert client["scope"] == "ssf.manage ssf.read"


def stream_of(plane: RunningPlane) -> str:
    streams = plane.plane.signals.transmitting.streams
    wish = StreamWish(method=Method.POLL, requested=(REVOKED,))
    return plane.do(lambda: streams.create("soc", wish, AUTHOR)).id


def test_operators_see_streams_and_what_waits_and_can_stop_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with running_plane(tmp_path, extra=settings_in(tmp_path)) as plane:
        name = stream_of(plane)
        scope = Scope(kind=ScopeKind.TOKEN, id="tok")
        receipt = plane.do(
            lambda: plane.plane.interruption.revoke(scope, reason="stolen", author=AUTHOR)
        )
        plane.do(plane.plane.signals.transmitting.emitting.settle)
        (listed,) = json.loads(good("ssf", "streams", "--json").stdout)
        assert (listed["stream_id"], listed["client"], listed["waiting"]) == (name, "soc", 1)
        (waits,) = json.loads(good("ssf", "outbox", "--json").stdout)
        assert (waits["kind"], waits["cause"]) == ("session-revoked", receipt.revocation.id)
        assert name in good("ssf", "streams").stdout
        assert receipt.revocation.id in good("ssf", "outbox").stdout
        done = good("ssf", "status", name, "paused", "--reason", "Noon.", "--json")
        assert json.loads(done.stdout)["status"] == "paused"
        kinds = [each["kind"] for each in json.loads(good("ssf", "outbox", "--json").stdout)]
        assert kinds == ["session-revoked", "stream-updated"]
        assert "enabled" in good("ssf", "status", name, "enabled").stdout
        (row,) = json.loads(good("ssf", "receivers", "--json").stdout)
        assert (row["name"], row["push"], row["poll"]) == ("idp", True, True)
        assert json.loads(good("ssf", "expect", "idp", "--json").stdout)["name"] == "idp"
        for words in (("status", "str_none", "paused"), ("expect", "nobody")):
            refused = midflight("ssf", *words)
            assert refused.exit_code != 0
            assert "midflight ssf" in refused.stderr
