"""What settings are made of: listen addresses, references to secrets, and what looks like one.

A reference names where a secret is; the secret itself is read at use and is in no settings value,
so printing settings shows none.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path

from midflight.domain.errors import Misconfigured
from midflight.domain.value import Value

LOCALHOST = "localhost"
MAX_SECRET_BYTES = 16_384

_REFERENCE = re.compile(
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9-]{0,31}) )?(?P<kind>env|file):(?P<name>\S+)\Z"
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
# Header, variable and option names whose values are credentials.
_SECRET_NAME = re.compile(
    r"(?i)(?:^|[-_.])(?:authorization|cookie|passw(?:or)?d|passphrase|secret|token|credentials?"
    r"|(?:api|access|private|signing|auth)[-_]?key|apikey|pat)(?:$|[-_.])"
)
# Forms that issuers give their credentials, whatever the name beside them.
_SECRET_VALUE = re.compile(
    r"(?:^|[\s=:])(?:sk-[A-Za-z0-9_-]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}"
    r"|glpat-[\w-]{16,}|xox[abprs]-[\w-]{10,}|(?:AKIA|ASIA)[A-Z0-9]{16}|AIza[\w-]{30,}"
    r"|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*|(?i:bearer|basic) [\w+/=.~-]{8,})"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)


class Address(Value):
    """Where to listen: an IP address or `localhost` (both families), and a port; 0 is any free."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host == LOCALHOST or ipaddress.ip_address(self.host).is_loopback

    @property
    def wildcard(self) -> bool:
        """Whether it is every address of this machine."""
        return self.host != LOCALHOST and ipaddress.ip_address(self.host).is_unspecified

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address(text: str) -> Address:
    """`127.0.0.1:8600`, `[::1]:8600` or `localhost:8600`.

    Names other than `localhost` are refused: what a name resolves to can change under a listener.

    Raises:
        ValueError: not such an address.
    """
    host, separator, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    # isascii: str.isdigit is true of digits of other scripts.
    if not separator or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        raise ValueError("is not an address and port such as 127.0.0.1:8600")
    try:
        if host != LOCALHOST:
            ipaddress.ip_address(host)
    except ValueError:
        raise ValueError("needs an IP address (or localhost) before the port") from None
    return Address(host=host, port=int(port))


class Reference(Value):
    """Where a value is: literal text, or `env:NAME` / `file:PATH`, after an optional scheme word.

    `Bearer env:TOKEN` sends `Bearer ` and what `$TOKEN` holds.
    """

    kind: str
    name: str
    scheme: str = ""

    @property
    def secret(self) -> bool:
        """Whether the value is read from elsewhere at use."""
        return self.kind != "literal"

    def read(self, *, environment: Mapping[str, str] | None = None) -> str:
        """The value, read now.

        Raises:
            Misconfigured: not there, empty, too large, or with a line break inside.
        """
        match self.kind:
            case "env":
                variables = os.environ if environment is None else environment
                value = variables.get(self.name, "")
            case "file":
                value = self._read_file()
            case _:
                return self.name
        value = value.strip()
        if not value:
            raise Misconfigured(f"{self} is empty or not set.", hint="Set it, then start again.")
        if "\n" in value or "\r" in value or "\0" in value or len(value) > MAX_SECRET_BYTES:
            raise Misconfigured(
                f"{self} holds more than one line of text.", hint="Keep one secret in one place."
            )
        return f"{self.scheme} {value}" if self.scheme else value

    def _read_file(self) -> str:
        try:
            with Path(self.name).open(encoding="utf-8") as file:
                return file.read(MAX_SECRET_BYTES + 2)
        except (OSError, UnicodeDecodeError):
            raise Misconfigured(
                f"{self} cannot be read.", hint="Check the path, its owner and its mode (0600)."
            ) from None

    def __str__(self) -> str:
        if self.kind == "literal":
            return self.name
        return f"{self.scheme} {self.kind}:{self.name}".lstrip()


def reference(text: str, *, named: str, base: Path) -> Reference:
    """Read one value of a header or variable called `named`; paths are relative to `base`.

    Raises:
        ValueError: a literal that looks like a secret (the value is not repeated), or a
            reference that names nothing.
    """
    found = _REFERENCE.match(text)
    if found is not None:
        kind, name, scheme = found["kind"], found["name"], found["scheme"] or ""
        if kind == "env" and _VARIABLE.match(name) is None:
            raise ValueError("names no environment variable after env:")
        if kind == "file":
            name = str(base / Path(name).expanduser())
        return Reference(kind=kind, name=name, scheme=scheme)
    if looks_secret(text, named=named):
        raise ValueError(
            "looks like a secret written into the settings; write env:NAME or file:PATH instead"
            " (`Bearer env:NAME` adds a scheme)"
        )
    if "\n" in text or "\r" in text or "\0" in text:
        raise ValueError("holds a line break")
    return Reference(kind="literal", name=text)


def looks_secret(text: str, *, named: str = "") -> bool:
    """Whether the text is credential-shaped, or is the value of something named like one."""
    if _SECRET_VALUE.search(text):
        return True
    return bool(text) and _SECRET_NAME.search(named) is not None


def option_looks_secret(argument: str) -> bool:
    """Whether a command-line argument carries a secret (`--token=…`, a known key form)."""
    name, separator, value = argument.partition("=")
    if separator and looks_secret(value, named=name.lstrip("-")):
        return True
    return looks_secret(argument)


__all__ = [
    "Address",
    "Reference",
    "address",
    "looks_secret",
    "option_looks_secret",
    "reference",
]
