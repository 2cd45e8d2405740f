"""How Midflight says who it is at a token endpoint: by key, by secret, or by its id alone.

An assertion is for one issuer, lives a minute and is used once. Above: `oauth_server.py`.
"""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import quote

from midflight.adapters.credentials.client_keys import PemSigner, signed_jwt
from midflight.adapters.credentials.oauth_settings import METHODS, OAuthSettings
from midflight.domain.errors import Misconfigured
from midflight.domain.value import Discreet
from midflight.services.ports.clock import Clock
from midflight.services.ports.keys import Signer
from midflight.services.ports.secret_reader import SecretReader
from midflight.wire.oauth.metadata import ServerMetadata

ASSERTION_S = 60
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Registered(Discreet):
    """A client that a server registered when a person logged in; `secret` is empty without one."""

    shown = ("id", "method")

    id: str
    method: str
    secret: str = ""


class ClientIdentity:
    """Midflight as a client of one authorization server."""

    def __init__(
        self,
        settings: OAuthSettings,
        *,
        references: SecretReader,
        clock: Clock,
        signer: Signer | None,
    ) -> None:
        """`signer` takes the place of a private key in the settings."""
        self._settings, self._references = settings, references
        self._clock, self._signer = clock, signer

    def method(self, server: ServerMetadata) -> str:
        """How it is said: as configured, else the best way that the server takes.

        Raises:
            Misconfigured: it takes none that there is a secret for.
        """
        settings = self._settings
        if settings.method != "auto":
            return settings.method
        if settings.keyed:
            able = {"private_key_jwt"}
        elif settings.secret:
            able = {"client_secret_basic", "client_secret_post"}
        else:
            able = {"none"}
        for method in METHODS:
            if method in able and method in server.methods:
                return method
        taken = [method for method in METHODS if method in server.methods]
        raise Misconfigured(
            "The authorization server takes no proof of who Midflight is that there is a secret "
            f"for: it takes {', '.join(taken) or 'none that is known here'}.",
            hint="Give --secret private_key=REFERENCE or --secret client_secret=REFERENCE.",
        )

    async def said(
        self, server: ServerMetadata, registered: Registered | None
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Headers and form members of one request (RFC 6749 §2.3, RFC 7523 §2.2)."""
        settings = self._settings
        if registered is not None:
            return _shown(registered.id, registered.method, registered.secret)
        method = self.method(server)
        if method == "private_key_jwt":
            assertion = await self._assertion()
            more = {"client_assertion_type": JWT_BEARER, "client_assertion": assertion}
            return {}, {"client_id": settings.client_id, **more}
        secret = "" if method == "none" else await self._references.read(settings.secret)
        return _shown(settings.client_id, method, secret)

    async def _assertion(self) -> str:
        signer, settings = self._signer, self._settings
        if settings.secret or signer is None:
            pem = await self._references.read(settings.secret)
            signer = PemSigner(pem, named=settings.secret)
        now = int(self._clock.now())
        claims = {
            "iss": settings.client_id,
            "sub": settings.client_id,
            # The issuer and nothing else: an assertion for one server is good for no other.
            "aud": settings.issuer,
            "jti": self._clock.token(),
            "iat": now,
            "exp": now + ASSERTION_S,
        }
        return await signed_jwt(signer, claims)


def _shown(client: str, method: str, secret: str) -> tuple[dict[str, str], dict[str, str]]:
    if method == "none":
        return {}, {"client_id": client}
    if method == "client_secret_post":
        return {}, {"client_id": client, "client_secret": secret}
    pair = f"{quote(client, safe='')}:{quote(secret, safe='')}"
    return {"Authorization": f"Basic {b64encode(pair.encode('ascii')).decode('ascii')}"}, {}


__all__ = ["ASSERTION_S", "JWT_BEARER", "ClientIdentity", "Registered"]
