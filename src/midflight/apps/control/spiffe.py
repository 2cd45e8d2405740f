"""Operations on identities: trust bundles, the authority, and JWT-SVIDs that operators mint."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from cryptography import x509

from midflight.apps.control.operation import Empty, Input, Operation
from midflight.apps.control.operators import Operator
from midflight.apps.control.plane import Plane
from midflight.domain.attestation import Entry
from midflight.domain.errors import Malformed
from midflight.domain.identity import spiffe_id
from midflight.domain.spiffe import TrustBundle
from midflight.domain.value import Discreet, Value
from midflight.services.changes import record_change
from midflight.wire import json
from midflight.wire.spiffe import encode_bundle


class KnownAuthority(Value):
    """One certificate of a bundle. `ends_at` in Unix seconds, `sha256` of its DER."""

    subject: str
    sha256: str
    ends_at: int


class KnownBundle(Value):
    """A trust bundle as it is in force; `problem` says why it is not, or why it was not renewed."""

    trust_domain: str
    ours: bool
    in_force: bool
    sequence: int = 0
    refresh_hint_s: int = 0
    x509_authorities: tuple[KnownAuthority, ...] = ()
    jwt_authorities: tuple[str, ...] = ()
    confirmed_at: int | None = None
    problem: str = ""
    document: dict[str, Any] = {}


class AuthorityRotation(Input):
    """Which part of the authority to renew: the intermediate, or the root, too."""

    root: bool = False


class AuthorityStanding(Value):
    """Unix seconds when the signing intermediate ends, and what is published."""

    ends_at: int
    sequence: int


class WantedSvid(Input):
    """A JWT-SVID to mint for a workload, for one audience."""

    workload: str
    audience: str


class MintedSvid(Discreet):
    """A new JWT-SVID. Its text is handed out once and kept nowhere."""

    shown = ("id", "workload", "expires_at")

    id: str
    workload: str
    audience: str
    expires_at: int
    token: str


class SpiffeVerbs:
    """See the module."""

    def __init__(self, plane: Plane) -> None:
        """Over the plane's SPIFFE services."""
        self._spiffe = plane.spiffe
        self._recorder = plane.ledger
        self._clock = plane.clock

    async def bundles(self, given: Empty, operator: Operator) -> Sequence[KnownBundle]:
        """Our bundle, then those of others by trust domain."""
        del given, operator
        bundles = self._spiffe.bundles
        names = [bundles.trust_domain, *bundles.federated()]
        return [self._known(name) for name in names]

    async def rotate_authority(
        self, given: AuthorityRotation, operator: Operator
    ) -> AuthorityStanding:
        """Prepare the next intermediate; it signs once its roots are known to others."""
        await self._spiffe.authority.rotate(root=given.root)
        await self._spiffe.bundles.refresh()
        await record_change(
            self._recorder,
            at=self._clock.now(),
            what="authority.rotate " + ("root" if given.root else "intermediate"),
            author=operator.author,
            details={"sequence": self._spiffe.bundles.own.sequence},
        )
        return AuthorityStanding(
            ends_at=self._spiffe.authority.ends_at, sequence=self._spiffe.bundles.own.sequence
        )

    async def mint(self, given: WantedSvid, operator: Operator) -> MintedSvid:
        """Mint one."""
        try:
            wanted = spiffe_id(given.workload)
        except ValueError as error:
            raise Malformed(f"workload: {error}.") from None
        entry = Entry(id="operator", spiffe_id=wanted, selectors=frozenset())
        made = await self._spiffe.svids.jwt(
            entry, [given.audience], proof=f"operator:{operator.author.name}"
        )
        return MintedSvid(
            id=made.jti,
            workload=made.spiffe_id,
            audience=given.audience,
            expires_at=made.expires_at,
            token=made.token,
        )

    def operations(self) -> Sequence[Operation[Any]]:
        """The rows of the table."""
        return (
            Operation(
                method="GET",
                path="/v1/bundles",
                summary="Our trust bundle and those of the trust domains we federate with.",
                input=Empty,
                answer=list[KnownBundle],
                act=self.bundles,
            ),
            Operation(
                method="POST",
                path="/v1/bundles/rotate",
                summary="Prepare the next intermediate of our authority, under a new root if told.",
                input=AuthorityRotation,
                answer=AuthorityStanding,
                act=self.rotate_authority,
            ),
            Operation(
                method="POST",
                path="/v1/svids",
                summary="Mint a JWT-SVID. The answer holds the only copy of its text.",
                input=WantedSvid,
                answer=MintedSvid,
                act=self.mint,
            ),
        )

    def _known(self, name: str) -> KnownBundle:
        bundles = self._spiffe.bundles
        held, ours = bundles.bundle(name), name == bundles.trust_domain
        problem = "" if ours else self._spiffe.federation.problem(name)
        if held is None:
            return KnownBundle(
                trust_domain=name,
                ours=ours,
                in_force=False,
                confirmed_at=bundles.confirmed_at(name),
                problem=problem or "It is revoked, was never fetched, or not for too long.",
            )
        return KnownBundle(
            trust_domain=name,
            ours=ours,
            in_force=True,
            sequence=held.sequence,
            refresh_hint_s=held.refresh_hint_s,
            x509_authorities=tuple(_authority(der) for der in held.x509_authorities),
            jwt_authorities=tuple(str(jwk["kid"]) for jwk in held.jwt_authorities),
            confirmed_at=bundles.confirmed_at(name),
            problem=problem,
            document=_document(held),
        )


def _authority(der: bytes) -> KnownAuthority:
    certificate = x509.load_der_x509_certificate(der)
    return KnownAuthority(
        subject=certificate.subject.rfc4514_string(),
        sha256=hashlib.sha256(der).hexdigest(),
        ends_at=int(certificate.not_valid_after_utc.timestamp()),
    )


def _document(bundle: TrustBundle) -> dict[str, Any]:
    return json.as_object(json.decode(encode_bundle(bundle))) or {}


__all__ = [
    "AuthorityRotation",
    "AuthorityStanding",
    "KnownAuthority",
    "KnownBundle",
    "MintedSvid",
    "SpiffeVerbs",
    "WantedSvid",
]
