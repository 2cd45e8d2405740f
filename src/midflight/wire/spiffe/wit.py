"""WIT-SVIDs (SPIFFE WIT-SVID, incubating): who somebody is, bound to a key and to no audience.

Issued and never taken: a WIT-SVID counts only with a proof of its key by a protocol such as
WIMSE's, which Midflight does not speak. Every door for tokens refuses one by its `typ` and by its
signing key, whose `use` is not that of JWT-SVIDs (`attacks/test_svids_at_the_gateway.py`).
"""

from __future__ import annotations

from midflight.domain.value import JSONObject

TYPE = "wit+jwt"
_PUBLIC = ("kty", "crv", "x", "y")


def wit_svid_claims(
    *, subject: str, key: JSONObject, token: str, issued_at: int, lifetime_s: int
) -> tuple[JSONObject, JSONObject]:
    """Header and claims for `TokenSigner.mint` (WIT-SVID §2, §3). Times in seconds.

    `key` is the holder's P-256 JWK, of which public members are taken. There is no `aud`, which is
    forbidden, and no `iss`, by which some verifier of ID tokens might take it for one (§3.7).
    """
    confirmed = {name: key[name] for name in _PUBLIC}
    return {"typ": TYPE}, {
        "sub": subject,
        "cnf": {"jwk": {**confirmed, "alg": "ES256"}},
        "jti": token,
        "iat": issued_at,
        "exp": issued_at + lifetime_s,
    }


__all__ = ["TYPE", "wit_svid_claims"]
