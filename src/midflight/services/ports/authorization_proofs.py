"""What reads proofs at the authorization server: bytes are `wire`'s, and services do not know them.

`midflight.wire.oauth.proofs` satisfies `AuthorizationProofs` as a module; everything in it is pure.
`Svids` and `SubjectTokens` need keys of others, so they are objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from midflight.domain.scopes import Scopes
from midflight.domain.value import Discreet, JSONObject


class KeyProof(Protocol):
    """A verified DPoP proof that is bound to no token. Spend `replay_key` once."""

    @property
    def replay_key(self) -> str:
        """What must not be used twice."""
        ...

    @property
    def until(self) -> int:
        """Unix seconds after which it could not be accepted again."""
        ...

    @property
    def thumbprint(self) -> str:
        """The key that it proves."""
        ...


class AssertionClaims(Protocol):
    """A verified client assertion. Spend (client, `jti`) once."""

    @property
    def jti(self) -> str:
        """Its id, unique for its client."""
        ...

    @property
    def until(self) -> int:
        """Unix seconds after which it could not be accepted again."""
        ...


class SvidClaims(Protocol):
    """A verified SVID."""

    @property
    def spiffe_id(self) -> str:
        """The workload it is of."""
        ...

    @property
    def id(self) -> str:
        """What a single use is of."""
        ...

    @property
    def expires_at(self) -> int:
        """Unix seconds."""
        ...

    @property
    def run(self) -> str | None:
        """The run of this plane that its bearer was launched for, or None."""
        ...


class AuthorizationProofs(Protocol):
    """Pure readers. What does not hold raises `Unauthenticated`."""

    @property
    def ASSERTION_TYPE(self) -> str:  # noqa: N802 -- a constant of the module
        """The `client_assertion_type` of `private_key_jwt`."""
        ...

    @property
    def SVID_ASSERTION_TYPE(self) -> str:  # noqa: N802 -- as above
        """The `client_assertion_type` of JWT-SVIDs."""
        ...

    def verify_key_proof(self, text: str, *, method: str, url: str, now: float) -> KeyProof:
        """A DPoP proof for the token endpoint."""
        ...

    def subject_of(self, text: str) -> str:
        """Whom an assertion claims to be of, unverified."""
        ...

    def verify_assertion(
        self, text: str, *, client: str, keys: Sequence[JSONObject], audience: str, now: float
    ) -> AssertionClaims:
        """A client assertion signed with one of the keys."""
        ...

    def is_thumbprint(self, text: str) -> bool:
        """Whether this has the form of a key's thumbprint."""
        ...

    def is_verifying_key(self, jwk: JSONObject) -> bool:
        """Whether this is a public JWK that assertions can be verified with."""
        ...

    def is_challenge(self, text: str) -> bool:
        """Whether this has the form of an S256 code challenge."""
        ...

    def verifies(self, verifier: str, challenge: str) -> bool:
        """Whether the code verifier is the one of the challenge."""
        ...

    def problem(self, uri: str) -> str | None:
        """Why this cannot be a redirect URI, or None."""
        ...

    def allowed(self, registered: Iterable[str], asked: str) -> bool:
        """Whether a request may name this redirect URI."""
        ...


class Svids(Protocol):
    """SVIDs of trust domains that this one trusts. `Unauthenticated` for every other."""

    def of_token(self, text: str, *, audience: str, now: float) -> SvidClaims:
        """A JWT-SVID for this one audience."""
        ...

    def of_certificate(self, chain: Sequence[bytes], *, now: float) -> SvidClaims:
        """The X509-SVID that a connection was made with, the leaf first."""
        ...


class Subject(Discreet):
    """Whom a subject token is of.

    Attributes:
        workload: SPIFFE ID, or None where it is of a person, who acts through a client.
        name: who opens a run for it, for policy and records.
        proof: how that was established: `jwt-svid`, `oidc:ISSUER`, `access-token`, …
        expires_at: Unix seconds when the token ends.
        spend: (purpose, key, until) of its single use, or None where it may be shown again.
        scope: what it is narrowed to, or None.
        run: the run it is for, or None: then one is opened.
        actors: who acts already, the one that acts first.
        thumbprint, certificate: what it is bound to, and must be shown with.
        token: its id where it is one of ours, for revocation.
        may_state_intent: whether it is somebody else than the workload who speaks.
        capped: whether what is made from it must end with it.
        details: what the record of the token keeps of it.
    """

    shown = ("workload", "proof", "run")

    workload: str | None
    name: str
    proof: str
    expires_at: int
    spend: tuple[str, str, int] | None = None
    scope: Scopes | None = None
    run: str | None = None
    actors: tuple[str, ...] = ()
    thumbprint: str | None = None
    certificate: str | None = None
    token: str = ""
    may_state_intent: bool = False
    capped: bool = False
    details: Mapping[str, str] = {}


class SubjectTokens(Protocol):
    """One kind of subject token: SVIDs, CI tokens, ID tokens. The seam for further ones."""

    async def resolve(self, token: str, kind: str, *, now: float) -> Subject | None:
        """Whom it is of; None if it is not of this kind at all.

        Args:
            token: the `subject_token`.
            kind: its `subject_token_type` (RFC 8693 §3).
            now: Unix seconds.

        Raises:
            Unauthenticated: it is of this kind, and does not hold.
        """
        ...


__all__ = [
    "AssertionClaims",
    "AuthorizationProofs",
    "KeyProof",
    "Subject",
    "SubjectTokens",
    "SvidClaims",
    "Svids",
]
