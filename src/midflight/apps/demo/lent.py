"""The demo's act on a credential: it is lent to a run, and the agent never sees it.

The secret is made here, sealed by the plane, placed into calls behind the agent's back, and taken
out of an answer that repeats it.
"""

from __future__ import annotations

import asyncio
import secrets

from midflight.apps.demo.acts import agent, open_run
from midflight.apps.demo.screen import Screen
from midflight.apps.demo.stage import Stage

NAME = "office-key"


async def lent(stage: Stage, screen: Screen) -> list[tuple[str, bool]]:
    """A sealed key goes with a call, and ends for the run with a revocation."""
    key = f"demo-{secrets.token_hex(16)}"
    screen.verb(
        "midflight credential add",
        *(NAME, "--backend sealed --upstream office --secret token=sealed"),
        "--inject header:X-Office-Key={token}",
    )
    stage.control.post(
        "/v1/credentials",
        name=NAME,
        backend="sealed",
        upstreams=["office"],
        injections=[{"placement": "header", "name": "X-Office-Key", "template": "{token}"}],
        settings={},
        sealed={"token": key},
    )
    run, token = open_run(stage, screen, "Ask the office whose key it sees.")
    async with agent(stage, screen, token) as release_bot:
        seen = await release_bot.call("whose_key")
        arrived = stage.office()["keyed"] == len(key)
        leases = stage.control.get("/v1/leases", run=run)
        screen.verb("midflight lease list", "--run", run)
        for lease in leases:
            screen.note(f"    {lease['id']}  {lease['credential']}  {lease['state']}")
        screen.verb("midflight revoke run", run)
        await asyncio.to_thread(
            stage.control.post,
            "/v1/revocations",
            scope={"kind": "run", "id": run},
            reason="the work is done",
        )
        again = await release_bot.call("whose_key")
    left = stage.control.get("/v1/leases", run=run)
    for _ in range(100):
        if not left:
            break
        await asyncio.sleep(0.02)
        left = stage.control.get("/v1/leases", run=run)
    kept = b"".join(path.read_bytes() for path in stage.folder.rglob("*") if path.is_file())
    return [
        ("the key reached the server", arrived),
        ("the agent sees [credential removed]", "[credential removed]" in seen.text),
        ("one lease was the run's", [lease["state"] for lease in leases] == ["active"]),
        ("the run's lease is gone with it", bool(again.code) and not left),
        ("the key is in no file in clear", key.encode() not in kept),
    ]


__all__ = ["NAME", "lent"]
