"""What the authorization server keeps: clients, codes, grants, refresh tokens; and how it refuses.

Secrets are kept as SHA-256 digests only: whoever reads the store can redeem nothing.
"""

from __future__ import annotations

import enum
from typing import ClassVar

from midflight.domain.errors import MidflightError
from midflight.domain.scopes import Scopes
from midflight.domain.value import Discreet, JSONObject, Value

MAX_PERSON = 256


class Refusal(enum.StrEnum):
    """OAuth error codes (RFC 6749 §4.1.2.1 and §5.2, RFC 8693 §2.2.2, RFC 9449 §5)."""

    INVALID_REQUEST = "invalid_request"
    INVALID_CLIENT = "invalid_client"
    INVALID_GRANT = "invalid_grant"
    UNAUTHORIZED_CLIENT = "unauthorized_client"
    UNSUPPORTED_GRANT_TYPE = "unsupported_grant_type"
    UNSUPPORTED_RESPONSE_TYPE = "unsupported_response_type"
    UNSUPPORTED_TOKEN_TYPE = "unsupported_token_type"  # noqa: S105 -- the name of an error
    INVALID_SCOPE = "invalid_scope"
    INVALID_TARGET = "invalid_target"
    INVALID_DPOP_PROOF = "invalid_dpop_proof"
    ACCESS_DENIED = "access_denied"
    SERVER_ERROR = "server_error"
    TEMPORARILY_UNAVAILABLE = "temporarily_unavailable"


class AuthorizationRefused(MidflightError):
    """The authorization server says no. `refusal` is the OAuth error code."""

    code: ClassVar[str] = "authorization_refused"
    http_status: ClassVar[int] = 400

    def __init__(self, refusal: Refusal, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.refusal = refusal

    @property
    def status(self) -> int:
        """The HTTP status of the answer (RFC 6749 §5.2)."""
        match self.refusal:
            case Refusal.INVALID_CLIENT:
                return 401
            case Refusal.SERVER_ERROR:
                return 500
            case Refusal.TEMPORARILY_UNAVAILABLE:
                return 503
            case _:
                return 400


class Client(Value):
    """A registered OAuth client.

    Attributes:
        id: its `client_id`: a name, or the https URL of its metadata document.
        workload: SPIFFE ID of the workload that it acts as; it must be registered.
        name: what people see when they are asked.
        redirect_uris: where codes may be sent; empty for one that sends nobody to log in. For a
            client with a document they are the document's.
        keys: public JWKs of `private_key_jwt`; without any, the client is public.
        scope: what it may get at most; None for no limit but its workload's.
        document: whether `id` is the URL of a Client ID Metadata Document.
        disabled: registered, and refused.
        by, at: who registered it, and when (Unix seconds).
    """

    id: str
    workload: str
    name: str
    redirect_uris: tuple[str, ...] = ()
    keys: tuple[JSONObject, ...] = ()
    scope: Scopes | None = None
    document: bool = False
    disabled: bool = False
    by: str = ""
    at: int = 0


class Person(Discreet):
    """Who is signed in. `proof` says how: `oidc:ISSUER`, `development-login`.

    `groups` are what a provider says of him, `at` when he proved himself there (Unix seconds), both
    only where they were asked for.
    """

    shown = ("name", "proof")

    name: str
    proof: str
    groups: tuple[str, ...] = ()
    at: int | None = None


def is_person_name(text: object) -> bool:
    """Whether a provider's name for a person can stand in records and policies as one.

    A SPIFFE ID cannot: whoever is called like a workload would open runs as that workload. Nor can
    `ISSUER#NAME`, which is what a person of another provider is called (`identity_assertions.py`).
    """
    return (
        isinstance(text, str)
        and 0 < len(text) <= MAX_PERSON
        and text.isprintable()
        and not text.lower().startswith("spiffe:")
        and not ("://" in text and "#" in text)
    )


class Grant(Value):
    """What one person has given one client, once. All tokens of it fall together.

    Attributes:
        id: `grt_` and 26 characters.
        client, workload, run: who got it, as whom it acts, and in which run.
        person, proof: who gave it, and how that was established.
        scope: what was given.
        jkt: thumbprint of the key that its first token must be bound to (`dpop_jkt`), or None.
        expires_at: Unix seconds after which nothing is refreshed.
    """

    id: str
    client: str
    workload: str
    run: str
    person: str
    proof: str
    scope: Scopes
    expires_at: int
    jkt: str | None = None


class Code(Value):
    """An authorization code, by its digest.

    Attributes:
        digest: SHA-256 of the code, in hex.
        grant: what it stands for.
        redirect_uri: as it was asked with; the token request must repeat it.
        challenge: the S256 code challenge (RFC 7636 §4.2).
        expires_at: Unix seconds.
    """

    digest: str
    grant: Grant
    redirect_uri: str
    challenge: str
    expires_at: int


class Refresh(Value):
    """A refresh token, by its digest. It is bound to a key (`jkt`), or it is not issued at all."""

    digest: str
    grant: str
    jkt: str
    expires_at: int


__all__ = [
    "AuthorizationRefused",
    "Client",
    "Code",
    "Grant",
    "Person",
    "Refresh",
    "Refusal",
    "is_person_name",
]
