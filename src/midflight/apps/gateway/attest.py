"""`/attest/…` of the gateway: proving from elsewhere who one is, for a first SVID.

    POST /attest/x509pop/challenge   {}                                        → Challenge
    POST /attest/x509pop             {challenge, chain, algorithm, signature}  → SVID
    POST /attest/join-token          {token}                                   → SVID

Each answer takes `audience` (a list) for a JWT-SVID, or none for an X509-SVID with its key, and the
first two take `spiffe_id`. Bytes are base64. Refusals are recorded as noise. Above: `app.py`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec

from midflight.apps.gateway.noise import Noise
from midflight.apps.server.asgi import Receive, Scope, Send
from midflight.apps.server.body import check_json, read_body
from midflight.apps.server.peer import scope_peer
from midflight.apps.server.respond import send_error, send_json
from midflight.domain.attestation import Entry
from midflight.domain.errors import Malformed, MidflightError, NotFound
from midflight.domain.value import JSONObject, Value
from midflight.services.joining import Joining
from midflight.wire import json

PREFIX = "/attest/"
MAX_BODY = 131_072
MAX_AUDIENCES = 8


class AnswerInput(Value, forbid_unknown_fields=True):
    """An answered challenge."""

    challenge: str
    chain: tuple[str, ...]
    algorithm: str
    signature: str
    spiffe_id: str | None = None
    audience: tuple[str, ...] = ()


class TokenInput(Value, forbid_unknown_fields=True):
    """A join token."""

    token: str
    audience: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return "TokenInput()"


InputT = TypeVar("InputT", bound=Value)


class AttestFront:
    """Serves what is below `/attest/`."""

    def __init__(self, joining: Joining, noise: Noise) -> None:
        self._joining = joining
        self._noise = noise
        self._verbs: dict[str, Callable[[JSONObject], Awaitable[JSONObject]]] = {
            "x509pop/challenge": self._challenge,
            "x509pop": self._answer,
            "join-token": self._token,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, whose Host and Origin were checked."""
        try:
            verb = self._verbs.get(scope["path"].removeprefix(PREFIX))
            if verb is None:
                raise NotFound("There is nothing here.")
            if scope["method"] != "POST":
                raise Malformed("This is asked by POST.")
            check_json(scope["headers"])
            document = json.decode(await read_body(receive, scope["headers"], limit=MAX_BODY))
            if not isinstance(document, dict):
                raise Malformed("The body is not a JSON object.")
            answer = await verb(document)
        except MidflightError as error:
            self._noise.refused(error.message, peer=scope_peer(scope).address)
            await send_error(send, error)
            return
        await send_json(send, json.encode(answer))

    async def _challenge(self, given: JSONObject) -> JSONObject:
        if given:
            raise Malformed("A challenge is asked for with an empty object.")
        return msgspec.to_builtins(self._joining.challenge())

    async def _answer(self, given: JSONObject) -> JSONObject:
        read = _read(given, AnswerInput)
        attested = await self._joining.by_certificate(
            read.challenge,
            [_bytes(each, "chain") for each in read.chain],
            algorithm=read.algorithm,
            signature=_bytes(read.signature, "signature"),
        )
        entry = self._joining.entry(attested, read.spiffe_id)
        serial = next(s.value for s in attested.selectors if s.value.startswith("serialnumber:"))
        return await self._svid(entry, read.audience, proof=f"x509pop:{serial}")

    async def _token(self, given: JSONObject) -> JSONObject:
        read = _read(given, TokenInput)
        _check_audience(read.audience)
        _, entry = await self._joining.by_token(read.token)
        return await self._svid(entry, read.audience, proof=str(next(iter(entry.selectors))))

    async def _svid(self, entry: Entry, audience: Sequence[str], *, proof: str) -> JSONObject:
        _check_audience(audience)
        if audience:
            jwt = await self._joining.jwt(entry, audience, proof=proof)
            return {
                "spiffe_id": jwt.spiffe_id,
                "jwt_svid": jwt.token,
                "expires_at": jwt.expires_at,
            }
        svid = await self._joining.x509(entry, proof=proof)
        return {
            "spiffe_id": svid.spiffe_id,
            "x509_svid": [base64.b64encode(each).decode("ascii") for each in svid.chain],
            "x509_svid_key": base64.b64encode(svid.key).decode("ascii"),
            "expires_at": svid.expires_at,
        }


def _read(given: JSONObject, kind: type[InputT]) -> InputT:
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        # msgspec names the field and the types, never the value.
        raise Malformed(f"The request is not what is taken here: {error}.") from None


def _bytes(text: str, field: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed(f"{field} is not base64.") from None


def _check_audience(audience: Sequence[str]) -> None:
    if len(audience) > MAX_AUDIENCES or any(not 0 < len(each) <= 512 for each in audience):
        raise Malformed(f"audience is a list of at most {MAX_AUDIENCES} names.")


__all__ = ["PREFIX", "AttestFront"]
