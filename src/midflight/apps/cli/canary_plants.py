"""What a canary looks like where it is planted: a record, a document.

Invented, and different each time: what all of them have in common would tell whoever looks for it.
Nothing in them says what they are.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence

_FIRST = ("Dana", "Marit", "Jonas", "Priya", "Tomás", "Ilse", "Owen", "Aiko", "Lena", "Samir")
_LAST = ("Whitlock", "Bergqvist", "Okafor", "Lindner", "Marchetti", "Reyes", "Tanaka", "Novak")
_NOTES = ("renewal pending", "prefers to be called", "moved offices in spring", "invoice by mail")
_SYSTEMS = ("billing", "backup", "reporting", "payroll export", "warehouse sync", "old intranet")
_HEADS = ("Access notes", "Service accounts", "For whoever is on duty", "Handover", "Emergency")
_TAILS = ("Ask before you change it.", "Rotated every quarter.", "Keep this out of tickets.")


def record(value: str) -> str:
    """A customer who does not exist, as JSON. `value` is an address or a link of his."""
    key = "website" if value.startswith("https:") else "email" if "@" in value else "reference"
    return json.dumps(
        {
            "id": f"C-{secrets.randbelow(900_000) + 100_000}",
            "name": f"{_pick(_FIRST)} {_pick(_LAST)}",
            key: value,
            "note": _pick(_NOTES),
        },
        ensure_ascii=False,
        indent=2,
    )


def document(value: str) -> str:
    """A page of notes that somebody has left lying about, as text."""
    system = _pick(_SYSTEMS)
    login = f"svc-{system.replace(' ', '-')}-{secrets.randbelow(90) + 10}"
    what = "link" if value.startswith("https:") else "mail" if "@" in value else "key"
    return "\n".join(
        [
            _pick(_HEADS),
            "",
            f"{system[0].upper()}{system[1:]}",
            f"  login: {login}",
            f"  {what}: {value}",
            "",
            _pick(_TAILS),
        ]
    )


def _pick(among: Sequence[str]) -> str:
    return secrets.choice(among)


__all__ = ["document", "record"]
