"""Redirect URIs: which may be registered, which one a request may name, and the way back.

Exact text decides (OAuth 2.1 §4.1.3): no pattern, no normalising, no prefix. The one exception is
the port of a loopback address, which a native client is given by its system (RFC 8252 §7.3).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import SplitResult, urlencode, urlsplit

MAX_URI = 2048
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

_TEXT = re.compile(r"[\x21-\x7e]+\Z")
_UNSAFE = re.compile(r"[\\<>\"^`{|}]")
_DOTS = re.compile(r"/(?:\.|%2e){1,2}(?:/|\Z)", re.IGNORECASE)
# RFC 8252 §7.1: a scheme of one's own is a domain written backwards, so it holds a dot.
_PRIVATE = re.compile(r"[a-z][a-z0-9+-]*(?:\.[a-z0-9+-]+)+\Z")


def problem(uri: str) -> str | None:
    """Why this cannot be a redirect URI, or None if it can."""
    if len(uri) > MAX_URI or _TEXT.match(uri) is None or _UNSAFE.search(uri):
        return "is not 1 to 2,048 plain ASCII characters"
    parts = _parts(uri)
    if parts is None:
        return "is no URI"
    for wrong, why in (
        ("#" in uri, "holds a fragment"),
        ("@" in parts.netloc, "holds user information"),
        ("*" in parts.netloc or _DOTS.search(parts.path), "holds a wildcard or dot segments"),
    ):
        if wrong:
            return why
    return _scheme_problem(uri.partition(":")[0], parts)


def _scheme_problem(scheme: str, parts: SplitResult) -> str | None:
    match scheme:
        case "https":
            return None if parts.hostname else "names no host"
        case "http":
            return None if parts.hostname in LOOPBACK else "is http and not loopback; use https"
        case _ if _PRIVATE.match(scheme):
            return None
        case _:
            return "has a scheme that browsers or nobody else may own"


def allowed(registered: Iterable[str], asked: str) -> bool:
    """Whether a request may name this redirect URI."""
    if problem(asked) is not None:
        return False
    return any(asked == one or _same_but_port(one, asked) for one in registered)


def shown_host(uri: str) -> str:
    """Where a redirect URI leads, for a person to read: its host and port, or its scheme."""
    parts = urlsplit(uri)
    return parts.netloc or f"{parts.scheme}: (an app on this device)"


def origin_of(uri: str) -> str | None:
    """The origin for `form-action`, or None where the scheme has none."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in {"http", "https"} else None


def way_back(uri: str, parameters: Mapping[str, str]) -> str:
    """The redirect URI with parameters added to its query (RFC 6749 §4.1.2)."""
    separator = "&" if "?" in uri else "?"
    return f"{uri}{separator}{urlencode(parameters)}"


def _parts(uri: str) -> SplitResult | None:
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:
        return None
    return parts if parts.scheme else None


def _same_but_port(registered: str, asked: str) -> bool:
    one, other = _parts(registered), _parts(asked)
    if one is None or other is None:
        return False
    return (
        one.scheme == "http" == other.scheme
        and one.hostname in LOOPBACK
        and _without_port(one) == _without_port(other)
        and (one.path, one.query) == (other.path, other.query)
    )


def _without_port(parts: SplitResult) -> str:
    # The text, not `hostname`, which lowers the case: what is not port is exact.
    host, colon, port = parts.netloc.rpartition(":")
    return host if colon and port.isascii() and port.isdigit() else parts.netloc


__all__ = ["LOOPBACK", "allowed", "origin_of", "problem", "shown_host", "way_back"]
