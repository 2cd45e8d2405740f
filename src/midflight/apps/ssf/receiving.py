"""`POST /ssf/receive/<name>`: a transmitter pushes a SET (RFC 8935 §2).

It shows the secret of its row, and its SET verifies; then the SET is taken, and 202 says so. A SET
that will not be taken gets 400 with `err` and `description`; what may be better later gets 503.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping

from midflight.apps.server.asgi import Receive, Scope, Send, header_values
from midflight.apps.server.body import read_body
from midflight.apps.server.respond import send_empty
from midflight.domain.errors import NotFound
from midflight.domain.security_event import SetError, SetRefused
from midflight.services.ssf_receiving import Receiving
from midflight.wire.ssf.metadata import RECEIVE
from midflight.wire.ssf.polls import PUSH_TYPE

MAX_BODY = 16_384


class NotTheTransmitter(SetRefused):
    """The secret is not shown."""

    http_status = 401

    def __init__(self) -> None:
        super().__init__(
            SetError.AUTHENTICATION_FAILED,
            "The transmitter is not known by this Authorization header.",
        )


class ReceiveFront:
    """Serves what is below `/ssf/receive/`."""

    def __init__(self, receiving: Receiving, secrets: Mapping[str, Callable[[], str]]) -> None:
        """`secrets` reads what a transmitter shows, by its name; who has none cannot push."""
        self._receiving = receiving
        self._secrets = secrets

    def serves(self, path: str) -> bool:
        """Whether a path is one of these."""
        return path.startswith(RECEIVE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; errors of the tree pass."""
        name = scope["path"].removeprefix(RECEIVE)
        if scope["method"] != "POST":
            await send_empty(send, 405, headers=[(b"allow", b"POST")])
            return
        secret = self._secrets.get(name)
        if secret is None:
            raise NotFound("No transmitter pushes to this path.")
        shown = header_values(scope["headers"], b"authorization")
        expected = f"Bearer {secret()}".encode("latin-1", "replace")
        if len(shown) != 1 or not hmac.compare_digest(shown[0], expected):
            raise NotTheTransmitter
        types = header_values(scope["headers"], b"content-type")
        if len(types) != 1 or types[0].lower() != PUSH_TYPE.encode():
            raise SetRefused(SetError.INVALID_REQUEST, f"The Content-Type is not {PUSH_TYPE}.")
        body = await read_body(receive, scope["headers"], limit=MAX_BODY)
        await self._receiving.take(name, body.decode("latin-1"))
        await send_empty(send, 202)


__all__ = ["MAX_BODY", "NotTheTransmitter", "ReceiveFront"]
