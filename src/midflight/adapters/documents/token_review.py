"""Kubernetes TokenReview (authentication.k8s.io/v1): the cluster's own word on a token.

One POST to the API server that settings name, verified by the authority that settings name. The
answer must repeat our audience, or an API server that knows no audiences would pass every token.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from midflight.adapters.upstream.http_client import OPEN_GATE, HttpLimits, HttpTimeouts
from midflight.adapters.upstream.http_connection import Connection
from midflight.domain.errors import Malformed, Unauthenticated, Unavailable, UpstreamBroken
from midflight.wire import json

PATH = "/apis/authentication.k8s.io/v1/tokenreviews"
TIMEOUT_S = 5.0
_MAX_ANSWER = 65_536
_MAX_TOKEN = 16_384


class KubernetesTokenReview:
    """The `TokenReview` of one cluster."""

    def __init__(self, *, server: str, ca: Path, token_file: Path) -> None:
        """`token_file` is read for each question, since clusters renew what is in it."""
        parts = urlsplit(server)
        self._host = parts.hostname or ""
        self._port = parts.port or 443
        self._netloc = parts.netloc
        self._path = parts.path.rstrip("/") + PATH
        self._tls = ssl.create_default_context(cafile=ca)
        self._token_file = token_file

    async def confirm(self, token: str, *, audience: str, subject: str) -> None:
        """As the port says."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                status = await self._ask(token, audience)
        except (TimeoutError, OSError, UpstreamBroken, Malformed, UnicodeError):
            raise _silent() from None
        user = json.as_object(status.get("user")) or {}
        audiences = status.get("audiences")
        if (
            status.get("authenticated") is not True
            or user.get("username") != subject
            or not isinstance(audiences, list)
            or audience not in cast("list[Any]", audiences)
        ):
            raise Unauthenticated(
                "The cluster does not stand by this token any more.",
                hint="Its pod or its account is gone, or it is for another audience.",
            )

    async def _ask(self, token: str, audience: str) -> dict[str, Any]:
        own = self._token_file.read_text(encoding="ascii")[:_MAX_TOKEN].strip()
        if not own or not own.isprintable():
            raise Malformed("The token file holds no token.")
        body = json.encode(
            {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenReview",
                "spec": {"token": token, "audiences": [audience]},
            }
        )
        head = (
            f"POST {self._path} HTTP/1.1\r\nHost: {self._netloc}\r\n"
            f"Authorization: Bearer {own}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nAccept: application/json\r\n"
            "Accept-Encoding: identity\r\nConnection: close\r\n\r\n"
        )

        def make() -> Connection:
            return Connection(
                peer=self._host,
                limits=HttpLimits(body=_MAX_ANSWER),
                timeouts=HttpTimeouts(connect=TIMEOUT_S, finish=TIMEOUT_S),
                on_free=_nothing,
                on_gone=_nothing,
            )

        _, connection = await asyncio.get_running_loop().create_connection(
            make, self._host, self._port, ssl=self._tls, server_hostname=self._host
        )
        try:
            response = connection.begin(OPEN_GATE)
            await connection.write(head.encode("ascii"), body, OPEN_GATE)
            await response.head()
            if response.status not in {200, 201}:
                raise _silent()
            answer = json.as_object(json.decode(await response.read())) or {}
            return json.as_object(answer.get("status")) or {}
        finally:
            connection.abort()


def _nothing(_: Connection) -> None:
    """One question a connection."""


def _silent() -> Unavailable:
    return Unavailable(
        "The cluster does not say whether this token still holds, so it is not believed.",
        hint="Look at [ci.issuer.token_review]: server, ca, and the rights of its token.",
    )


__all__ = ["KubernetesTokenReview"]
