"""Callers that prove themselves by an SVID: a certificate shown in the handshake, or a JWT-SVID.

An SVID is believed by the bundle in force for its trust domain, asked anew for every request: a
proof that was remembered counts only while that very bundle is in force, so an authority that is
taken out of it takes its SVIDs along at once. Registration and revocation are the guard's to ask;
the serial number or `jti` is what an SVID can be revoked by. Above: `identity.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from midflight.domain.errors import Unauthenticated
from midflight.domain.identity import spiffe_id, trust_domain
from midflight.domain.spiffe import TrustBundle
from midflight.domain.value import Value
from midflight.services.ports.bundles import Bundles
from midflight.services.ports.proofs import Certificates, Svids

REMEMBERED = 4_096
"""Chains that have verified. Verifying one costs some 200 µs, and a connection shows one for all
its requests."""


class SvidProof(Value):
    """What an SVID proves.

    Attributes:
        workload: the SPIFFE ID.
        token: serial number or `jti`, by which it can be revoked.
        expires_at: Unix seconds.
        run: the run that its bearer was launched for, or None.
    """

    workload: str
    token: str
    expires_at: int
    run: str | None = None


class _Remembered(Value):
    """A chain that has verified, and by which bundle."""

    proof: SvidProof
    bundle: TrustBundle


class SvidCallers:
    """SVIDs of the trust domains whose bundles are in force."""

    def __init__(
        self,
        *,
        bundles: Bundles,
        svids: Svids,
        certificates: Certificates,
        audience: str,
        own: str = "",
        remembered: int = REMEMBERED,
    ) -> None:
        """Say what is believed.

        Args:
            bundles: the bundles in force.
            svids: reads SVIDs: `midflight.wire.spiffe`.
            certificates: reads certificates: `midflight.wire.tokens`.
            audience: what a JWT-SVID must be for, alone: the gateway's resource.
            own: the trust domain whose SVIDs name runs of this plane.
            remembered: bound of the chains that are remembered.
        """
        self._bundles = bundles
        self._svids = svids
        self._certificates = certificates
        self._audience = audience
        self._own = own
        self._bound = remembered
        self._verified: dict[bytes, _Remembered] = {}

    def of_chain(self, chain: Sequence[bytes], now: float) -> SvidProof:
        """What a chain (DER, the leaf first) proves, whose key the handshake has proved.

        Raises:
            Unauthenticated: nothing.
        """
        key = hashlib.sha256(b"".join(hashlib.sha256(der).digest() for der in chain)).digest()
        known = self._verified.get(key)
        if known is not None:
            in_force = self._bundles.bundle(trust_domain(known.proof.workload))
            if in_force is known.bundle and now < known.proof.expires_at:
                return known.proof
            del self._verified[key]
        if not chain:
            raise Unauthenticated("No client certificate was shown.", challenge="")
        said = self._certificates.read_certificate(chain[0])
        bundle = self._bundle_of(said.spiffe_id)
        workload = self._svids.verify_x509_svid(chain, bundle=bundle, now=now)
        if workload != said.spiffe_id:
            raise _unknown()
        proof = SvidProof(
            workload=workload,
            token=said.serial,
            expires_at=said.expires_at,
            run=said.run if trust_domain(workload) == self._own else None,
        )
        if len(self._verified) >= self._bound:
            del self._verified[next(iter(self._verified))]
        self._verified[key] = _Remembered(proof=proof, bundle=bundle)
        return proof

    def of_token(self, text: str, now: float) -> SvidProof:
        """What a JWT-SVID for this gateway, and for nobody else, proves. Not remembered.

        Raises:
            Unauthenticated: nothing.
        """
        svid = self._svids.verify_jwt_svid(
            text, bundles=self._bundles.bundle, audience=self._audience, now=now, alone=True
        )
        # What is signed names it where it has no id of its own: a signature has two spellings.
        named = svid.jti or hashlib.sha256(text.rpartition(".")[0].encode("ascii")).hexdigest()
        own = trust_domain(svid.spiffe_id) == self._own
        return SvidProof(
            workload=svid.spiffe_id,
            token=named,
            expires_at=svid.expires_at,
            run=svid.run if own else None,
        )

    def _bundle_of(self, claimed: str) -> TrustBundle:
        try:
            bundle = self._bundles.bundle(trust_domain(spiffe_id(claimed)))
        except ValueError:
            raise _unknown() from None
        if bundle is None:
            raise _unknown()
        return bundle


def _unknown() -> Unauthenticated:
    return Unauthenticated(
        "The client certificate is no X509-SVID of a trust domain that is known here.",
        hint="Show an X509-SVID of the Workload API, or present an access token.",
    )


__all__ = ["SvidCallers", "SvidProof"]
