"""What `wire` raises beyond `Malformed`: the same error, with what an answer to it needs.

A peer that sent a bad message is owed an answer with its request's id, where that could be read.
"""

from __future__ import annotations

from typing import ClassVar

from midflight.domain.errors import Malformed
from midflight.domain.value import JSON

# JSON-RPC 2.0 §5.1
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603

# MCP 2026-07-28, basic §Error Codes
HEADER_MISMATCH = -32020
MISSING_CAPABILITY = -32021
UNSUPPORTED_VERSION = -32022


class MalformedMessage(Malformed):
    """A message that decodes as JSON and is wrong all the same.

    Attributes:
        request_id: the id to answer with, or None where there is none to be read.
        data: the `data` member of the JSON-RPC error, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        rpc_code: int = INVALID_REQUEST,
        request_id: int | str | None = None,
        data: JSON = None,
    ) -> None:
        super().__init__(message, hint=hint, rpc_code=rpc_code)
        self.request_id = request_id
        self.data = data


class UnknownMethod(MalformedMessage):
    """A method that does not exist, or not in this generation.

    HTTP 404 (MCP 2026-07-28, Streamable HTTP §Protocol Version Header).
    """

    http_status: ClassVar[int] = 404

    def __init__(
        self, message: str, *, hint: str = "", request_id: int | str | None = None
    ) -> None:
        super().__init__(message, hint=hint, rpc_code=METHOD_NOT_FOUND, request_id=request_id)


__all__ = [
    "HEADER_MISMATCH",
    "INTERNAL_ERROR",
    "INVALID_PARAMS",
    "INVALID_REQUEST",
    "METHOD_NOT_FOUND",
    "MISSING_CAPABILITY",
    "UNSUPPORTED_VERSION",
    "MalformedMessage",
    "UnknownMethod",
]
