"""`midflight` with a broker that a file of the test plays. Arguments: the file, then its own.

The file is JSON: a list of {"credential": ..., "fields": ...}. It stands in for stored credentials;
everything behind the lease itself is the real plane in a process of its own.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from midflight.apps.cli.main import main
from midflight.apps.gateway import main as gateway
from midflight.domain.lease import Credential
from midflight.testing import ScriptedLeases


class Signer:
    """Signs with a key that must not show: a keyed digest in place of a proof."""

    def __init__(self, key: str) -> None:
        self._key = key

    def sign(self, method: str, url: str, headers: Any, body: bytes) -> Any:
        text = f"{method} {url}".encode() + body
        return [("dpop", hmac.new(self._key.encode(), text, hashlib.sha256).hexdigest())]


def run(file: str) -> None:
    """Add the leases, and be `midflight`."""
    leases = ScriptedLeases()
    for entry in json.loads(Path(file).read_text(encoding="utf-8")):
        leases.add(msgspec.convert(entry["credential"], Credential), **entry["fields"])
    made = gateway.parts

    def parts(settings: Any) -> Any:
        found = made(settings)
        found.leases = leases
        found.signers = lambda credential, placement, secret: Signer(secret.fields["key"])
        return found

    gateway.parts = parts
    main()


if __name__ == "__main__":
    run(sys.argv.pop(1))
