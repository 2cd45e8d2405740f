"""An OpenID provider's backchannel over HTTP (CIBA Core 1.0, poll mode).

Discovery, bounds, keys and the checks of ID tokens are those of `oidc.py`. It proves itself by a
secret, or by a signed assertion (`private_key_jwt`, RFC 7523 §2.2).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx2

from midflight.adapters.login.oidc import OidcLogin, encoded, sent
from midflight.domain.errors import Unauthenticated, UpstreamUnavailable
from midflight.domain.value import JSONObject
from midflight.services.ports.backchannel import Polled, Started, Word
from midflight.services.ports.clock import Clock

GRANT = "urn:openid:params:grant-type:ciba"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
AUTH_REQ_ID = "urn:openid:params:jwt:claim:auth_req_id"
DEFAULT_INTERVAL_S = 5
"""Where the provider names none (§7.3)."""
MAX_INTERVAL_S = 300
MAX_ID = 2_048

_WORDS = {word.value: word for word in Word if word is not Word.AGREED}


class CibaProvider(OidcLogin):
    """`BackchannelProvider` over HTTP."""

    _endpoints = ("backchannel_authentication_endpoint", "token_endpoint", "jwks_uri")

    def __init__(
        self,
        *,
        issuer: str,
        client_id: str,
        client_secret: Callable[[], str] | None,
        assertion: Callable[[str], Awaitable[str]],
        clock: Clock,
    ) -> None:
        """`assertion` makes one for an audience, and is used where there is no `client_secret`."""
        super().__init__(
            issuer=issuer,
            client_id=client_id,
            client_secret=client_secret or str,
            claim="sub",
            redirect_uri="",
            clock=clock,
        )
        self._secret = client_secret
        self._assertion = assertion

    async def start(self, *, login_hint: str, binding_message: str, expires_s: int) -> Started:
        """See `BackchannelProvider.start`."""
        endpoint = (await self._discovered())["backchannel_authentication_endpoint"]
        status, found = await self._posted(
            endpoint,
            {
                "scope": "openid",
                "login_hint": login_hint,
                "binding_message": binding_message,
                "requested_expiry": str(expires_s),
            },
        )
        if status != 200 or found is None:
            raise _trouble(status)
        name = found.get("auth_req_id")
        expires = _count(found.get("expires_in"))
        interval = _count(found.get("interval", DEFAULT_INTERVAL_S))
        if not isinstance(name, str) or not 0 < len(name) <= MAX_ID or not expires or not interval:
            raise UpstreamUnavailable("The identity provider answers what is no start.")
        return Started(
            auth_req_id=name,
            expires_in=min(expires, expires_s),
            interval=min(interval, MAX_INTERVAL_S),
        )

    async def poll(self, auth_req_id: str) -> Polled:
        """See `BackchannelProvider.poll`."""
        endpoint = (await self._discovered())["token_endpoint"]
        status, found = await self._posted(
            endpoint, {"grant_type": GRANT, "auth_req_id": auth_req_id}
        )
        word = None if found is None or status != 400 else _WORDS.get(str(found.get("error")))
        if word is not None:
            return Polled(word=word)
        if status != 200 or found is None:
            raise _trouble(status)
        text = found.get("id_token")
        if not isinstance(text, str):
            raise Unauthenticated("The provider gave no ID token.")
        token = await self._verified(text)
        # Told in push mode alone; where it is, it is the name of the question (§10.3.1).
        if token.claims.get(AUTH_REQ_ID, auth_req_id) != auth_req_id:
            raise Unauthenticated("The ID token is of another question.")
        return Polled(word=Word.AGREED, subject=str(token.claims.get("sub", "")))

    # Inside

    async def _posted(self, url: str, data: dict[str, str]) -> tuple[int, JSONObject | None]:
        if self._secret is not None:
            auth = httpx2.BasicAuth(encoded(self._client_id), encoded(self._secret()))
            return await sent("POST", url, data=data, auth=auth)
        proof = {
            "client_id": self._client_id,
            "client_assertion_type": ASSERTION,
            "client_assertion": await self._assertion(self._issuer),
        }
        return await sent("POST", url, data={**data, **proof}, auth=None)


def _count(value: Any) -> int:
    """A positive whole number, or 0 for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _trouble(status: int) -> Exception:
    if status in {400, 401, 403}:
        return Unauthenticated("The identity provider refused the question.")
    return UpstreamUnavailable("The identity provider does not answer as it should.")


__all__ = ["CibaProvider"]
