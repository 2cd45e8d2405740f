"""Clients as operators handle them, through the command line and a running plane."""

from __future__ import annotations

import json
from pathlib import Path

from control_kit import WORKLOAD, running_plane
from identity_kit import Key
from typer.testing import CliRunner

from midflight.apps.cli.main import app


def test_a_client_is_added_listed_and_removed(tmp_path: Path) -> None:
    keys = tmp_path / "jwks.json"
    keys.write_text(json.dumps({"keys": [{**Key().public_jwk, "kid": "k1"}]}), encoding="utf-8")
    with running_plane(tmp_path) as running:
        running.register()

        def said(*words: str) -> str:
            result = CliRunner().invoke(app, ["--config", str(running.config), *words])
            assert result.exit_code == 0, result.output
            return result.stdout

        said("client", "add", "bot", "--workload", WORKLOAD, "--jwks", str(keys), "--scope", "mcp")
        (listed,) = json.loads(said("client", "list", "--json"))
        assert (listed["id"], listed["keys"], listed["scope"]) == ("bot", 1, "mcp")
        assert "bot" in said("client", "list")
        said("client", "remove", "bot")
        assert json.loads(said("client", "list", "--json")) == []
        code = said("client", "login-code").splitlines()[0]
        assert len(code) == 11
