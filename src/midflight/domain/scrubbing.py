"""Scrubbing: a secret that Midflight put into a call is taken out of whatever comes back.

Looked for are the text itself and the forms in which servers repeat things: base64 (both alphabets,
at any offset inside a longer text, whole, without its padding or in lines), hex (with and without
separators), percent, HTML and JSON escapes as the usual libraries write them, as a number, and
backwards. Not found: compressed or encrypted forms, base64 of base64, a secret cut in
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
_DIGITS = re.compile(r"[0-9]{1,19}\Z")
_PADDING = re.compile(r"=+\Z")


def forms(secret: str) -> frozenset[str]:
    """Every spelling of a secret that is looked for; none if it is too short."""
    if len(secret) < MIN_LENGTH:
        return frozenset()
    raw = secret.encode("utf-8", "surrogatepass")
    found = {secret, secret[::-1], *_hexed(raw), *_percent(raw), *_html(secret), *_json(secret)}
    for offset in range(3):
        # What of an encoding only the secret decides, wherever it stands in a longer text.
        coded = _PADDING.sub("", base64.b64encode(bytes(offset) + raw).decode("ascii"))
        begin = (0, 2, 3)[offset]
        whole = coded[begin : len(coded) - (1 if (offset + len(raw)) % 3 else 0)]
        found |= {whole, whole.translate(_URL_ALPHABET), whole[::-1]}
    coded = base64.b64encode(raw).decode("ascii")
    for width in _WRAPPED:
        # In lines, as MIME and the command of that name write it.
        lines = [coded[at : at + width] for at in range(0, len(coded), width)]
        found.update(line for line in lines if len(line) == width)
    if "\n" in secret:
        lines = [line.strip() for line in secret.splitlines()]
        found.update(line for line in lines if len(line) >= _MIN_LINE)
        body = "".join(line for line in lines if not line.startswith("-----"))
        found.add(body)
    return frozenset(form for form in found if len(form) >= min(_MIN_FORM, len(secret)))


def _hexed(raw: bytes) -> set[str]:
    found: set[str] = set()
    for between in ("", " ", ":", "\\x"):
        text = raw.hex(between) if len(between) == 1 else between.join(f"{b:02x}" for b in raw)
        found |= {text, text.upper()}
    return found | {raw.hex()[::-1]}


def _percent(raw: bytes) -> set[str]:
    found = {"".join(f"%{byte:02X}" for byte in raw), quote_plus(raw)}
    found |= {quote(raw, safe=safe) for safe in _LEFT_ALONE}
    return found | {_ESCAPE.sub(lambda escape: escape[0].lower(), text) for text in found}


def _html(secret: str) -> set[str]:
    found = {
        "".join(f"&#{ord(each)};" for each in secret),
        "".join(f"&#x{ord(each):x};" for each in secret),
        html.escape(secret, quote=False),
    }
    for escapes in _HTML:
        text = html.escape(secret, quote=False)
        found.add("".join(escapes.get(each, each) for each in text))
    return found


def _json(secret: str) -> set[str]:
    found = {"".join(f"\\u{ord(each):04x}" for each in secret)}
    for ascii_only in (True, False):
        text = json.dumps(secret, ensure_ascii=ascii_only)[1:-1]
        upper = _UNICODE.sub(lambda escape: f"\\u{escape[1].upper()}", text)
        for each in (text, upper, text.replace("/", "\\/"), upper.replace("/", "\\/")):
            found |= {each, json.dumps(each)[1:-1]}
    return found


# Beside letters, digits and `-._~`: of RFC 3986, `encodeURIComponent` and `encodeURI`.
_LEFT_ALONE = ("", "/", "!'()*", "!'()*;,/?:@&=+$#", "/:=&?+,;@")
_QUOTES = {'"': "&quot;", "'": "&#x27;"}
# How quotes, slashes and signs of equality are written: by Python, by most others, by templates.
_HTML = (
    _QUOTES,
    {'"': "&quot;", "'": "&#39;"},
    {'"': "&#34;", "'": "&#39;"},
    {'"': "&quot;", "'": "&#39;", "/": "&#x2F;", "`": "&#x60;", "=": "&#x3D;"},
    {**_QUOTES, "/": "&#x2F;"},
)
_ESCAPE = re.compile(r"%[0-9A-F]{2}")
_UNICODE = re.compile(r"\\u([0-9a-f]{4})")
_WRAPPED = (64, 76)
_URL_ALPHABET = str.maketrans("+/", "-_")


class Scrubber:
    """Takes a set of secrets out of texts and values. Made once for each set."""

    __slots__ = ("_forms", "_numbers", "_pattern")

    def __init__(self, secrets: Iterable[str]) -> None:
        """Secrets that are too short to look for are left out."""
        secrets = frozenset(secrets)
        # One of digits comes back as a number from who takes it for one.
        self._numbers = frozenset(
            int(secret) for secret in secrets if len(secret) >= MIN_LENGTH and _DIGITS.match(secret)
        )
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
        if not any(form in whole for form in self._forms) and not self._has_number(value):
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
            if self._is_number(value):
                count[0] += 1
                return REMOVED
            return value
        walked: JSONObject = {}
        for key, each in value.items():
            name, found = self.text(key)
            count[0] += found
            walked[_free(name, walked)] = self._walk(each, count)
        return walked

    def _is_number(self, value: JSON) -> bool:
        return type(value) is int and value in self._numbers

    def _has_number(self, value: JSON) -> bool:
        if not self._numbers:
            return False
        if isinstance(value, dict):
            return any(self._has_number(each) for each in value.values())
        if isinstance(value, list):
            return any(self._has_number(each) for each in value)
        return self._is_number(value)


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
