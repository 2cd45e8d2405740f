"""How a call of these APIs ends when it is refused: a gRPC status, and text for strangers."""

from __future__ import annotations

import grpc

_NO_IDENTITY = "No identity is issued to this process."


class Refused(Exception):
    """Ends a call with a gRPC status; the text is safe for strangers.

    `reason` is that of `google.rpc.ErrorInfo` where a standard names one (Broker API §4.8).
    """

    def __init__(self, status: grpc.StatusCode, text: str, *, reason: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.reason = reason


def not_entitled() -> Refused:
    """Nothing is issued to this caller, and why is not told."""
    return Refused(grpc.StatusCode.PERMISSION_DENIED, _NO_IDENTITY, reason="WORKLOAD_NOT_ENTITLED")


__all__ = ["Refused", "not_entitled"]
