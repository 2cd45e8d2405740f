"""Whether a DPoP proof's `htu` names the request's URL (RFC 9449 §4.3).

Query and fragment are ignored, and both sides are normalised by syntax and scheme (RFC 3986
§6.2.2, §6.2.3), as the RFC recommends. Nothing but http and https URLs without user information
compares equal to anything.
"""

from __future__ import annotations

import functools
import re
from urllib.parse import urlsplit

from midflight.domain.errors import Malformed

MAX_URL = 2048
_DEFAULT_PORTS = {"http": 80, "https": 443}
_URL_TEXT = re.compile(r"[\x21-\x7e]+\Z")
_HOST = re.compile(r"(?:[a-z0-9._~-]+|\[[0-9a-f:.]+\])\Z")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]")


def same_target(htu: str, url: str) -> bool:
    """Whether both name the same scheme, host, port and path."""
    try:
        return normalised(htu) == normalised(url)
    except Malformed:
        return False


@functools.lru_cache(maxsize=512)
def normalised(url: str) -> str:
    """`scheme://host[:port]/path` in normal form, without query and fragment.

    Raises:
        Malformed: not an absolute http or https URL, with user information, or over 2,048
            characters.
    """
    if len(url) > MAX_URL or _URL_TEXT.match(url) is None or "\\" in url:
        raise _not_a_url()
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _not_a_url() from None
    scheme, host = parts.scheme, _host(parts.netloc)
    if scheme not in _DEFAULT_PORTS or "@" in parts.netloc or _BAD_ESCAPE.search(parts.path):
        raise _not_a_url()
    if _HOST.match(host) is None:
        raise _not_a_url()
    shown = "" if port in {None, _DEFAULT_PORTS[scheme]} else f":{port}"
    path = _without_dot_segments(_ESCAPE.sub(_normal_escape, parts.path))
    return f"{scheme}://{host}{shown}{path}"


def _host(authority: str) -> str:
    """The host of an authority that has no user information, lower-case."""
    host, colon, port = authority.rpartition(":")
    return (host if colon and not port.endswith("]") else authority).lower()


def _normal_escape(escape: re.Match[str]) -> str:
    character = chr(int(escape[1], 16))
    return character if _UNRESERVED.match(character) else escape[0].upper()


def _without_dot_segments(path: str) -> str:
    """RFC 3986 §5.2.4 for a path that is empty or begins with a slash."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments and segments[-1] in {".", ".."}:
        kept.append("")
    return "/" + "/".join(kept)


def _not_a_url() -> Malformed:
    return Malformed("This is not an absolute http or https URL without user information.")


__all__ = ["normalised", "same_target"]
