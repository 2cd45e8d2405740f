"""A second Midflight is started on the state of one that runs: it takes nothing from the first.

Both are real processes. A start ends what other holders have lent, so the second one would end the
credentials that are in use; it is refused before it has looked at anything.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from process_kit import Connection, ProcessPlane, process_plane

from servers.journal_server import journalling

pytestmark = pytest.mark.anyio


def second(first: ProcessPlane, folder: Path) -> Path:
    """The configuration of another plane with the same state."""
    folder.mkdir()
    text = first.config.read_text(encoding="utf-8")
    text = text.replace('directory = "state"', f'directory = "{first.state}"')
    text = text.replace("/c.sock", "/other.sock")
    config = folder / "midflight.toml"
    config.write_text(text, encoding="utf-8")
    shutil.copytree(first.folder / "policies", folder / "policies")
    return config


def up(config: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "midflight.apps.cli.main", "--config", str(config), "up"],
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
    )


async def test_it_is_refused_and_what_the_first_has_lent_lives_on(tmp_path: Path) -> None:
    async with journalling(slow_every=1_000) as journal:
        described = f'[[upstream]]\nname = "up"\nurl = "{journal.url}"\nreach = "closed"\n'
        first_folder = tmp_path / "first"
        first_folder.mkdir()
        with process_plane(first_folder, described) as plane:
            await asyncio.to_thread(plane.start)
            await asyncio.to_thread(
                plane.control.post,
                "/v1/credentials",
                name="key",
                backend="sealed",
                upstreams=["up"],
                injections=[{"placement": "header", "name": "X-Key"}],
                settings={},
                sealed={"token": "the-secret-of-it"},
            )
            workload = await asyncio.to_thread(plane.register, "one")
            await asyncio.to_thread(plane.pin, "up", {"look": ("read", "closed")})
            _, token = await asyncio.to_thread(plane.open_run, workload)
            with closing(Connection(plane.url)) as agent:
                await agent.call(token, "look", nonce="a")
            (lease,) = await asyncio.to_thread(plane.control.get, "/v1/leases")
            assert lease["state"] == "active"

            config = second(plane, tmp_path / "second")
            refused = await asyncio.to_thread(up, config)
            assert refused.returncode == 2, refused.stderr
            assert "Another Midflight runs on the state directory" in refused.stderr
            assert "Traceback" not in refused.stderr
            (still,) = await asyncio.to_thread(plane.control.get, "/v1/leases")
            assert still == lease
            with closing(Connection(plane.url)) as agent:
                await agent.call(token, "look", nonce="b")
            assert [head for head in journal.heads if b"x-key" in head][1:], "it was to be used"

            # What was killed holds nothing back: the next start ends what it has lent.
            plane.kill()
            await asyncio.to_thread(plane.reaped)
            await asyncio.to_thread(plane.start)
            ended = await asyncio.to_thread(plane.control.get, f"/v1/leases/{lease['id']}")
            assert ended["state"] == "revoked"
            assert await asyncio.to_thread(plane.stop) == 0
