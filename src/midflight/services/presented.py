"""What a request presents to prove who calls, and how much of it belongs together.

Values and rules without I/O. Above: `identity.py`, which says whether it holds.
"""

from __future__ import annotations

from typing import Any, Protocol

from midflight.domain.errors import Unauthenticated
from midflight.domain.value import Value

_SCHEMES = frozenset({"bearer", "dpop"})


class Credentials(Value):
    """What a request presents. Its repr shows none of it.

    Attributes:
        authorization: every value of the `Authorization` header, in order.
        dpop: every value of the `DPoP` header, in order.
        method: the request's method.
        url: the request's URL as clients see it, from the settings' external base and the path;
            never from the `Host` header. The query does not matter.
        peer: network address of the caller, for records.
        certificates: what the client showed in the TLS handshake, DER, the leaf first; the
            handshake has proved that it holds the leaf's key, and nothing else.
    """

    authorization: tuple[str, ...]
    method: str
    url: str
    dpop: tuple[str, ...] = ()
    peer: str = ""
    certificates: tuple[bytes, ...] = ()

    def __repr__(self) -> str:
        return f"Credentials(peer={self.peer!r})"

    def __rich_repr__(self) -> Any:
        yield "peer", self.peer


class Stolen(Protocol):
    """Is told of a token that holds, and was shown by somebody who is not its holder."""

    def __call__(self, *, workload: str, run: str, token: str, peer: str, why: str) -> None:
        """`token` is its id, `why` the refusal's sentence; `run` is empty for none."""
        ...


def presented(credentials: Credentials) -> tuple[str, str]:
    """(scheme, token) of the one `Authorization` header."""
    match credentials.authorization:
        case (value,):
            name, _, rest = value.partition(" ")
        case ():
            raise Unauthenticated(
                "The request has no Authorization header.",
                hint="Present a workload token: midflight workload token.",
                challenge="",
            )
        case _:
            raise Unauthenticated(
                "The request has several Authorization headers.", challenge="invalid_request"
            )
    scheme = name.lower()
    if scheme not in _SCHEMES:
        raise Unauthenticated(
            "The Authorization header is neither Bearer nor DPoP.",
            hint="Present a workload token: midflight workload token.",
            challenge="",
        )
    return scheme, rest.strip(" ")


def refuse_needless_proof(scheme: str, credentials: Credentials) -> None:
    """Refuse a proof, or its scheme, beside a token that is bound to no key."""
    # A client that sends a proof believes its token to be bound; serving it would hide that an
    # unbound token was slipped to it (RFC 9449 §7.2).
    if scheme == "dpop":
        raise Unauthenticated(
            "This access token is not bound to a key.", hint="Present it with the Bearer scheme."
        )
    if credentials.dpop:
        raise Unauthenticated(
            "A DPoP proof came with an access token that is not bound to a key.",
            hint="Get a token that is bound to the key, or leave the proof out.",
            challenge="invalid_request",
        )


__all__ = ["Credentials", "Stolen", "presented", "refuse_needless_proof"]
