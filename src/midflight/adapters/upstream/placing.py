"""Placing: what is attached to one request, in its URL and its headers, at the moment it is sent.

A header that is attached replaces the configured one of that name, so that exactly one leaves.
Signers come last: they sign what is sent. No header of a client is here, there is no way in.
Above: both HTTP clients. Beside: `certified.py`, for what a connection as a whole carries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable
from urllib.parse import quote, urlsplit, urlunsplit

from midflight.adapters.upstream.http_client import header_line
from midflight.domain.errors import LeaseUnavailable
from midflight.domain.placing import is_reserved
from midflight.services.ports.injection import NOTHING, Attachment

Header = tuple[str, str]


@runtime_checkable
class TakesNonce(Protocol):
    """A signer that puts a nonce of the upstream into its proofs (RFC 9449 §8)."""

    def nonce(self, value: str) -> None:
        """Use it from now on."""
        ...


class Placer:
    """Puts attachments into requests to one URL."""

    __slots__ = ("_configured", "_peer", "_url")

    def __init__(self, peer: str, url: str, *, configured: bytes) -> None:
        """`configured` are the encoded header lines of every request."""
        self._peer = peer
        self._url = url
        self._configured = pairs(configured)

    def place(
        self, method: bytes, headers: bytes, body: bytes, attachment: Attachment
    ) -> tuple[str, bytes]:
        """The URL and the encoded header lines of one request, configured ones included.

        Raises:
            LeaseUnavailable: something attached cannot be sent as it is.
        """
        url = with_query(self._url, attachment.query)
        attached = list(attachment.headers)
        self._refuse_reserved(attached)
        lines = _merged(self._configured, attached)
        lines += pairs(headers)
        for signer in attachment.signers:
            made = list(signer.sign(method.decode("ascii"), url, lines, body))
            self._refuse_reserved(made)
            lines = _merged(lines, made)
        try:
            return url, b"".join(header_line(name, value) for name, value in lines)
        except ValueError as error:
            raise LeaseUnavailable(
                f"A request to upstream {self._peer} was not sent, because {error}.",
                hint="Look at how the credential is placed: midflight credential show.",
            ) from None

    def _refuse_reserved(self, headers: Sequence[Header]) -> None:
        for name, _ in headers:
            if is_reserved(name):
                raise LeaseUnavailable(
                    f"A credential cannot be placed into header {name} of upstream {self._peer}: "
                    "it is Midflight's own.",
                    hint="Place it into a header that authenticates.",
                )


def with_query(url: str, added: Sequence[Header]) -> str:
    """A URL with query parameters in place of those of the same name."""
    if not added:
        return url
    parts = urlsplit(url)
    names = {quote(name, safe="") for name, _ in added}
    kept = [each for each in parts.query.split("&") if each and each.partition("=")[0] not in names]
    kept += [f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in added]
    return urlunsplit(parts._replace(query="&".join(kept)))


def target_of(url: str) -> str:
    """The request target of a URL."""
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def pairs(lines: bytes) -> list[Header]:
    """Encoded header lines, taken apart."""
    found: list[Header] = []
    for line in lines.decode("ascii").split("\r\n"):
        if line:
            name, _, value = line.partition(": ")
            found.append((name, value))
    return found


def hear_nonce(attachment: Attachment, value: str) -> bool:
    """Give a nonce to the signers that take one; whether any did."""
    taken = False
    if value and attachment is not NOTHING:
        for signer in attachment.signers:
            if isinstance(signer, TakesNonce):
                signer.nonce(value)
                taken = True
    return taken


def _merged(lines: Sequence[Header], added: Sequence[Header]) -> list[Header]:
    names = {name.lower() for name, _ in added}
    return [*(line for line in lines if line[0].lower() not in names), *added]


__all__ = [
    "Header",
    "Placer",
    "TakesNonce",
    "hear_nonce",
    "pairs",
    "target_of",
    "with_query",
]
