"""Turns SVIDs and bundles into messages, which the Workload API and the Broker API share.

The fields are the same in both standards; the classes are given, since each is in a pool of its
own (`descriptors.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from midflight.apps.workload_api.entitled import hints
from midflight.domain.spiffe import JwtSvid, TrustBundle, X509Svid
from midflight.wire.spiffe import jwks


def x509_svids(
    one: Any, response: Any, held: Sequence[X509Svid], trusted: Sequence[TrustBundle]
) -> Any:
    """A response of X509-SVIDs and the bundles beside them, ours first in `trusted`."""
    own, *others = trusted
    return response(
        svids=[
            one(
                spiffe_id=svid.spiffe_id,
                x509_svid=b"".join(svid.chain),
                x509_svid_key=svid.key,
                bundle=b"".join(own.x509_authorities),
                hint=hint,
            )
            for svid, hint in zip(held, hints(held), strict=True)
        ],
        federated_bundles={domain_id(b): b"".join(b.x509_authorities) for b in others},
    )


def x509_bundles(response: Any, trusted: Sequence[TrustBundle]) -> Any:
    """A response of X.509 bundles by trust domain."""
    return response(bundles={domain_id(b): b"".join(b.x509_authorities) for b in trusted})


def jwt_svids(one: Any, response: Any, made: Sequence[JwtSvid]) -> Any:
    """A response of JWT-SVIDs."""
    return response(
        svids=[
            one(spiffe_id=svid.spiffe_id, svid=svid.token, hint=hint)
            for svid, hint in zip(made, hints(made), strict=True)
        ]
    )


def jwt_bundles(response: Any, trusted: Sequence[TrustBundle]) -> Any:
    """A response of JWT bundles by trust domain."""
    return response(bundles={domain_id(b): jwks(b) for b in trusted})


def domain_id(bundle: TrustBundle) -> str:
    """The SPIFFE ID of a trust domain, by which bundles are keyed."""
    return f"spiffe://{bundle.trust_domain}"


__all__ = ["domain_id", "jwt_bundles", "jwt_svids", "x509_bundles", "x509_svids"]
