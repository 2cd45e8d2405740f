"""The messages of the Workload API (SPIFFE Workload API §5 to §7)."""

from __future__ import annotations

from typing import Any

from midflight.apps.workload_api import proto

SERVICE = "SpiffeWorkloadAPI"

_MESSAGES: proto.Table = {
    "X509SVIDRequest": (),
    "X509SVIDResponse": (
        ("svids", "[]X509SVID"),
        ("crl", "[]bytes"),
        ("federated_bundles", "{}bytes"),
    ),
    "X509SVID": (
        ("spiffe_id", "string"),
        ("x509_svid", "bytes"),
        ("x509_svid_key", "bytes"),
        ("bundle", "bytes"),
        ("hint", "string"),
    ),
    "X509BundlesRequest": (),
    "X509BundlesResponse": (("crl", "[]bytes"), ("bundles", "{}bytes")),
    "JWTSVIDRequest": (("audience", "[]string"), ("spiffe_id", "string")),
    "JWTSVIDResponse": (("svids", "[]JWTSVID"),),
    "JWTSVID": (("spiffe_id", "string"), ("svid", "string"), ("hint", "string")),
    "JWTBundlesRequest": (),
    "JWTBundlesResponse": (("bundles", "{}bytes"),),
    "ValidateJWTSVIDRequest": (("audience", "string"), ("svid", "string")),
    "ValidateJWTSVIDResponse": (("spiffe_id", "string"), ("claims", ".google.protobuf.Struct")),
    "WITSVIDRequest": (("spiffe_id", "string"),),
    "WITSVIDResponse": (("svids", "[]WITSVID"),),
    "WITSVID": (
        ("spiffe_id", "string"),
        ("wit_svid", "string"),
        ("wit_svid_key", "string"),
        ("hint", "string"),
    ),
    "WITBundlesRequest": (),
    "WITBundlesResponse": (("bundles", "{}string"),),
}


def messages() -> dict[str, Any]:
    """Message classes by name, from a pool that nobody else sees."""
    return proto.messages(_MESSAGES)


__all__ = ["SERVICE", "messages"]
