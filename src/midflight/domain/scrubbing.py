"""Scrubbing: a secret that Midflight put into a call is taken out of whatever comes back.

Looked for are the text itself and the forms in which servers repeat things: base64 (both alphabets,
at any offset inside a longer text, whole or without its padding), hex, percent, HTML and JSON
escapes, and backwards. Not found: compressed or encrypted forms, base64 of base64, a secret cut in
pieces over several fields or by characters in between, and a digest of it. Those take an upstream
that hides what it does, and such a one has had the secret anyway: what protects against it is that
a lease is narrow and short.

Pure; it runs over decoded messages, so borders of chunks and events do not matter.
Above: `services/injection.py`.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable
from typing import Any, cast
from urllib.parse import quote, quote_plus

from midflight.domain.value import JSON, JSONObject

REMOVED = "[credential removed]"
MIN_LENGTH = 6
"""Characters of a secret that is looked for: a shorter one would take words out of every text."""
_MIN_FORM = 8
_MIN_LINE = 32
_PADDING = re.compile(r"=+\Z")


def forms(secret: str) -> frozenset[str]:
    """Every spelling of a secret that is looked for; none if it is too short."""
    if len(secret) < MIN_LENGTH:
        return frozenset()
    found = {secret, secret[::-1]}
    raw = secret.encode("utf-8", "surrogatepass")
    hexed = raw.hex()
    percent = "".join(f"%{byte:02X}" for byte in raw)
    escaped = json.dumps(secret)[1:-1]
    found |= {
        hexed,
        hexed.upper(),
        hexed[::-1],
        percent,
        percent.lower(),
        quote(raw, safe=""),
        quote(raw),
        quote_plus(raw),
        html.escape(secret),
        escaped,
        json.dumps(escaped)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        "".join(f"\\u{ord(each):04x}" for each in secret),
        "".join(f"&#{ord(each)};" for each in secret),
    }
    for offset in range(3):
        # What of an encoding only the secret decides, wherever it stands in a longer text.
        coded = _PADDING.sub("", base64.b64encode(bytes(offset) + raw).decode("ascii"))
        begin = (0, 2, 3)[offset]
        whole = coded[begin : len(coded) - (1 if (offset + len(raw)) % 3 else 0)]
        found |= {whole, whole.translate(_URL_ALPHABET), whole[::-1]}
    if "\n" in secret:
        lines = [line.strip() for line in secret.splitlines()]
        found.update(line for line in lines if len(line) >= _MIN_LINE)
        body = "".join(line for line in lines if not line.startswith("-----"))
        found.add(body)
    return frozenset(form for form in found if len(form) >= min(_MIN_FORM, len(secret)))


_URL_ALPHABET = str.maketrans("+/", "-_")


class Scrubber:
    """Takes a set of secrets out of texts and values. Made once for each set."""

    __slots__ = ("_forms", "_pattern")

    def __init__(self, secrets: Iterable[str]) -> None:
        """Secrets that are too short to look for are left out."""
        self._forms = tuple(
            # The longest first: what holds another goes as a whole.
            sorted({form for secret in secrets for form in forms(secret)}, key=lambda f: -len(f))
        )
        self._pattern: re.Pattern[str] | None = None

    def __repr__(self) -> str:
        return f"Scrubber(<{len(self._forms)} forms>)"

    def text(self, text: str) -> tuple[str, int]:
        """A text without the secrets, and how often one was in it."""
        if not any(form in text for form in self._forms):
            return text, 0
        if self._pattern is None:
            self._pattern = re.compile("|".join(map(re.escape, self._forms)))
        return self._pattern.subn(REMOVED, text)

    def object(self, value: JSONObject) -> tuple[JSONObject, int]:
        """A JSON object without the secrets, keys included, and how many were taken out."""
        parts: list[str] = []
        _gather(value, parts)
        whole = "\n".join(parts)
        if not any(form in whole for form in self._forms):
            return value, 0
        count = [0]
        return cast("JSONObject", self._walk(value, count)), count[0]

    def _walk(self, value: JSON, count: list[int]) -> JSON:
        if isinstance(value, str):
            text, found = self.text(value)
            count[0] += found
            return text
        if isinstance(value, list):
            return [self._walk(each, count) for each in value]
        if not isinstance(value, dict):
            return value
        walked: JSONObject = {}
        for key, each in value.items():
            name, found = self.text(key)
            count[0] += found
            walked[_free(name, walked)] = self._walk(each, count)
        return walked


def _free(name: str, taken: dict[str, Any]) -> str:
    """A key that is not there yet, so that two that were scrubbed do not become one."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} {number}"
    return free


def _gather(value: JSON, parts: list[str]) -> None:
    if isinstance(value, str):
        parts.append(value)
    elif isinstance(value, dict):
        parts.extend(value)
        for each in value.values():
            _gather(each, parts)
    elif isinstance(value, list):
        for each in value:
            _gather(each, parts)


__all__ = ["MIN_LENGTH", "REMOVED", "Scrubber", "forms"]
