"""Reads the settings of a backend and collects every problem, not the first.

Values are plain JSON, written by an operator. Secrets in them are references; a literal where a
reference belongs is refused, and not repeated.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Mapping
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import urlsplit

from midflight.domain.errors import Forbidden, Misconfigured
from midflight.domain.lease import Credential, Lease
from midflight.services.lease_asking import SCOPE_EFFECTS

REFERENCE = re.compile(r"(?:env:[A-Za-z_][A-Za-z0-9_]*|file:\S+|sealed:[A-Za-z0-9._-]+)\Z")


class Reading:
    """Reads members of a JSON object; as a context it ends with `Misconfigured` on any problem.

    A reader that found a problem returns an empty value, so that the reading goes on.
    """

    def __init__(self, settings: Mapping[str, Any], *, title: str, within: str = "") -> None:
        """`title` names the whole in the error, `within` goes before the members' names."""
        self._settings, self._title, self._within = settings, title, within
        self._known: set[str] = set()
        self._inner: list[Reading] = []
        self.problems: list[str] = []

    @classmethod
    def of(cls, credential: Credential) -> Reading:
        """Of a credential's settings, but for what is the broker's in them."""
        settings = {k: v for k, v in credential.settings.items() if k != SCOPE_EFFECTS}
        return cls(settings, title=f"Credential {credential.name} cannot be used.")

    def problem(self, name: str, what: str) -> None:
        """Note that a member is wrong. `what` continues "The setting NAME …"."""
        self.problems.append(f"{self._within}{name} {what}")

    def has(self, name: str) -> bool:
        """Whether it is set."""
        return name in self._settings

    def known(self, name: str) -> None:
        """It may be there; somebody else reads it."""
        self._known.add(name)

    def text(self, name: str, *, default: str | None = None, form: str = "") -> str:
        """A text, which is required unless there is a default; `form` is a regular expression."""
        value = self._member(name, default=default)
        if value is None:
            return ""
        if type(value) is int:
            value = str(value)  # an id of digits is a text, however it was written
        if not isinstance(value, str) or (not value and default is None):
            self.problem(name, "is not a text")
            return ""
        if form and value and not re.fullmatch(form, value):
            self.problem(name, f"is not of the form {form}")
            return ""
        return value

    def number(self, name: str, *, default: int, least: int, most: int) -> int:
        """A whole number in a range."""
        value = self._member(name, default=default)
        if type(value) is not int or not least <= value <= most:
            self.problem(name, f"is not a whole number from {least} to {most}")
            return default
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        """True or false."""
        value = self._member(name, default=default)
        if not isinstance(value, bool):
            self.problem(name, "is neither true nor false")
            return default
        return value

    def choice(self, name: str, choices: Collection[str], *, default: str | None = None) -> str:
        """One of some words."""
        value = self._member(name, default=default)
        if value is None:
            return ""
        if not isinstance(value, str) or value not in choices:
            self.problem(name, f"is not one of {', '.join(sorted(choices))}")
            return ""
        return value

    def texts(self, name: str, *, form: str = r"\S+") -> tuple[str, ...]:
        """A list of texts, empty by default."""
        value = self._member(name, default=[])
        items = cast("list[object]", value) if isinstance(value, list) else [None]
        if not all(isinstance(item, str) and re.fullmatch(form, item) for item in items):
            self.problem(name, f"is not a list of texts of the form {form}")
            return ()
        return tuple(cast("list[str]", items))

    def reference(self, name: str, *, required: bool = True) -> str:
        """A reference to a secret."""
        value = self._member(name, default=None if required else "")
        if value is None or value == "":
            return ""
        if not isinstance(value, str) or REFERENCE.match(value) is None:
            self.problem(name, "is not a reference: write env:NAME, file:PATH or sealed:ID")
            return ""
        return value

    def url(self, name: str, *, default: str | None = None) -> str:
        """An absolute https URL without a slash at its end; plain http for loopback alone."""
        value = self.text(name, default=default)
        if value and not is_safe_url(value):
            self.problem(name, "is not an https URL (http is for loopback alone)")
            return ""
        return value.rstrip("/")

    def section(self, name: str, *, required: bool = True) -> Reading:
        """An object inside, whose problems are this one's; empty if it is not there."""
        value = self._member(name, default=None if required else {})
        if value is not None and not isinstance(value, dict):
            self.problem(name, "is not a table")
        members = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
        inner = Reading(members, title=self._title, within=f"{self._within}{name}.")
        self._inner.append(inner)
        return inner

    def scopes(self, credential: Credential, *, form: str, like: str) -> None:
        """Note a credential without scopes, or with one that is not of the form."""
        if not credential.scopes:
            self.problem("scopes", f"are missing: a lease is granted by scopes such as {like}")
        for scope in credential.scopes:
            if not re.fullmatch(form, scope):
                self.problem("scopes", f"hold {scope!r}, which is not like {like}")

    def all_problems(self) -> list[str]:
        """What was found, unknown members included."""
        unknown = sorted(self._settings.keys() - self._known)
        found = [*self.problems, *(f"{self._within}{name} is not known" for name in unknown)]
        return found + [problem for inner in self._inner for problem in inner.all_problems()]

    def _member(self, name: str, *, default: Any) -> Any:
        self._known.add(name)
        if name not in self._settings:
            if default is None:
                self.problem(name, "is missing")
            return default
        if self._settings[name] is None:
            self.problem(name, "is null: leave it out instead")
        return self._settings[name]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        found = self.all_problems() if kind is None else []
        if found:
            raise Misconfigured(self._title, found, hint="Change its settings.")


def is_safe_url(url: str) -> bool:
    """Whether a secret may be sent there: https, or http to this machine; no user, no fragment."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    plain = parts.scheme == "http" and is_loopback(host)
    clean = "@" not in parts.netloc and not parts.fragment and url.isascii() and url.isprintable()
    return bool(host) and clean and (parts.scheme == "https" or plain)


def is_loopback(host: str) -> bool:
    """Whether a host, as it stands in a URL, is this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_narrowing(credential: Credential, lease: Lease, *, some: bool) -> None:
    """Refuse a lease that is wider than its credential, before anything is asked of a backend.

    Args:
        credential: the most that may be granted.
        lease: what is to be granted.
        some: the backend grants what scopes say and nothing else, so there must be some. Without
            it, no scopes are right where the credential has none.

    Raises:
        Forbidden: a scope of the lease is not among the credential's, or it has none.
    """
    foreign = [scope for scope in lease.scopes if scope not in credential.scopes]
    if foreign:
        raise Forbidden(
            f"Credential {credential.name} may not be leased for {', '.join(foreign)}.",
            hint="Ask for scopes that the credential has.",
        )
    if not lease.scopes and (some or credential.scopes):
        # Backends read no scope at all as every scope.
        raise Forbidden(
            f"Credential {credential.name} is leased for named scopes only.",
            hint=f"Ask for some of {', '.join(credential.scopes) or 'its scopes'}.",
        )


__all__ = [
    "REFERENCE",
    "Reading",
    "is_loopback",
    "is_safe_url",
    "require_narrowing",
]
