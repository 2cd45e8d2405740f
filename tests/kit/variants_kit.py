"""A gateway with a set of observers, and an agent and an operator who use it."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from live_kit import CLOSE, LiveGateway, live_gateway
from process_kit import Said, message_of, post_bytes
from typer.testing import CliRunner

import midflight
from gateways import AGENT, OPERATOR
from midflight.apps.cli.main import app
from midflight.domain.identity import Mode, Workload
from midflight.wire.tokens.access import access_claims

PACK = Path(midflight.__file__).parent / "policies" / "observe"
STANDARD = """
@id("runs") permit(principal, action == Action::"open_run", resource);
@id("reads") @log("full") permit(principal, action in Action::"read", resource);
@id("never-mallory") @reason("Mallory gets nothing.") @help("Be somebody else.")
forbid(principal, action in Action::"call_tool", resource)
when { context.args has nonce && context.args.nonce == "mallory" };
"""
"""Everybody reads, and mallory does not."""


@contextlib.contextmanager
def observing_gateway(folder: Path) -> Iterator[LiveGateway]:
    """A gateway with `STANDARD` and the observe pack."""
    shutil.copytree(PACK, folder / "policies" / "observe")
    with live_gateway(folder, policy=STANDARD) as running:
        (folder / "midflight.toml").write_text('[state]\ndirectory = "state"\n')
        yield running


def say(live: LiveGateway, nonce: str, *headers: str, token: str = "", **meta: Any) -> Said:
    """What the agent is answered."""
    message = message_of("look", {"nonce": nonce})
    message["params"]["_meta"] = message["params"]["_meta"] | meta
    raw = post_bytes(
        json.dumps(message).encode(),
        token or live.token,
        host=live.host,
        method="tools/call",
        name="look",
        headers=(*CLOSE, *headers),
    )
    [said] = live.talk(raw)
    return said


def put_into(live: LiveGateway, mode: Mode) -> None:
    """What an operator does."""
    workload = Workload(
        id=AGENT, owner="team-one", escalation="oncall", review_by=int(time.time()) + 86_400,
        mode=mode,
    )  # fmt: skip
    live.do(lambda: live.plane.inventory.register(workload, OPERATOR))


def told(live: LiveGateway, *words: str) -> Any:
    """What the command line says, as JSON."""
    config = live.plane.settings.state.directory.parent / "midflight.toml"
    result = CliRunner().invoke(app, ["--config", str(config), *words, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def signed(live: LiveGateway, **claims: Any) -> str:
    """A token of the plane's own key with claims beside those that it mints."""

    async def sign() -> str:
        settings = live.plane.settings
        header, minted = access_claims(
            issuer=settings.issuer,
            resource=f"{settings.public_url}/mcp",
            workload=AGENT,
            token="tok_x",
            issued_at=int(time.time()),
            lifetime_s=600,
            run=None,
            thumbprint=None,
        )
        return live.plane.parts.token_signer.sign(header, minted | claims)

    return live.do(sign)


__all__ = ["PACK", "STANDARD", "observing_gateway", "put_into", "say", "signed", "told"]
