"""Cookies of this server's own pages: strict, for this host alone, and out of reach of scripts."""

from __future__ import annotations

from midflight.apps.server.asgi import Scope, header_values


def read_cookies(scope: Scope) -> dict[str, str]:
    """The cookies of a request. Of two with one name the first counts.

    One that was planted for a narrower path comes before ours, and then nothing matches: it can
    only keep a person out.
    """
    found: dict[str, str] = {}
    for header in header_values(scope["headers"], b"cookie"):
        for pair in header.decode("latin-1").split(";"):
            name, _, value = pair.strip().partition("=")
            found.setdefault(name, value)
    return found


class OwnCookie:
    """One cookie of ours.

    Over https it is called `__Host-…`: only this very host can have set it, and over https
    (RFC 6265bis §4.1.3.2).
    """

    def __init__(self, name: str, *, secure: bool) -> None:
        self.name = f"__Host-{name}" if secure else name
        self._attributes = "; Path=/; HttpOnly; SameSite=Strict" + ("; Secure" if secure else "")

    def put(self, value: str, *, seconds: int | None = None) -> tuple[bytes, bytes]:
        """The header that gives it to a browser, until that is closed or for some seconds."""
        age = "" if seconds is None else f"; Max-Age={seconds}"
        return b"set-cookie", f"{self.name}={value}{age}{self._attributes}".encode("ascii")

    def drop(self) -> tuple[bytes, bytes]:
        """The header that takes it away."""
        return b"set-cookie", f"{self.name}=; Max-Age=0{self._attributes}".encode("ascii")


__all__ = ["OwnCookie", "read_cookies"]
