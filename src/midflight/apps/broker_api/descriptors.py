"""The messages of the SPIFFE Broker API (§3, §5, §6), and `google.rpc` ones for errors (§4.8)."""

from __future__ import annotations

from typing import Any

from midflight.apps.workload_api import proto

SERVICE = "spiffe.broker.API"
PID_REFERENCE = "spiffe.broker.WorkloadPIDReference"
DETAILS = "grpc-status-details-bin"
_ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"

_REFERENCE = ("reference", "WorkloadReference")
_BUNDLES = ("bundles", "{}bytes")
_MESSAGES: proto.Table = {
    "WorkloadReference": (("reference", ".google.protobuf.Any"),),
    "WorkloadPIDReference": (("pid", "int32"),),
    "SubscribeToX509SVIDRequest": (_REFERENCE,),
    "SubscribeToX509SVIDResponse": (
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
    "SubscribeToX509BundlesRequest": (_REFERENCE,),
    "SubscribeToX509BundlesResponse": (("crl", "[]bytes"), _BUNDLES),
    "FetchJWTSVIDRequest": (_REFERENCE, ("audience", "[]string"), ("spiffe_id", "string")),
    "FetchJWTSVIDResponse": (("svids", "[]JWTSVID"),),
    "JWTSVID": (("spiffe_id", "string"), ("svid", "string"), ("hint", "string")),
    "SubscribeToJWTBundlesRequest": (_REFERENCE,),
    "SubscribeToJWTBundlesResponse": (_BUNDLES,),
}
_ERRORS: proto.Table = {
    "Status": (
        ("code", "int32"),
        ("message", "string"),
        ("details", "[].google.protobuf.Any"),
    ),
    "ErrorInfo": (("reason", "string"), ("domain", "string"), ("metadata", "{}string")),
}


def messages() -> dict[str, Any]:
    """Message classes by name, from a pool that nobody else sees."""
    return proto.messages(_MESSAGES, package="spiffe.broker")


class ErrorDetails:
    """Writes why a call was refused as clients can read it: `google.rpc.ErrorInfo`."""

    def __init__(self) -> None:
        self._classes = proto.messages(_ERRORS, package="google.rpc")

    def trailing(self, code: int, text: str, reason: str) -> tuple[tuple[str, bytes], ...]:
        """Trailing metadata for a gRPC status; none where no reason is named."""
        if not reason:
            return ()
        info = self._classes["ErrorInfo"](reason=reason, domain="spiffe.io")
        status = self._classes["Status"](code=code, message=text)
        status.details.add(type_url=_ERROR_INFO, value=info.SerializeToString())
        return ((DETAILS, status.SerializeToString()),)


__all__ = ["DETAILS", "PID_REFERENCE", "SERVICE", "ErrorDetails", "messages"]
