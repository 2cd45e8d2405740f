"""What is known of an authorization server: its metadata (RFC 8414), and how Midflight calls it.

The issuer comes from the settings; metadata must name the very same one, and its endpoints must be
on the issuer's host or on one that the settings list, so that a document cannot send secrets
elsewhere. Above: `oauth.py`. Below: `calls.py`.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from urllib.parse import quote, urlencode, urlsplit

from midflight.adapters.credentials.calls import Answer, Calls, failure, texts
from midflight.adapters.credentials.client_keys import PemSigner, signed_jwt
from midflight.adapters.credentials.dpop_proofs import DpopKey
from midflight.adapters.credentials.oauth_settings import OAuthSettings
from midflight.adapters.credentials.reading import is_safe_url
from midflight.domain.errors import Misconfigured, Unavailable
from midflight.domain.value import JSONObject, Value
from midflight.services.ports.clock import Clock
from midflight.services.ports.keys import Signer
from midflight.services.ports.secret_reader import SecretReader

NAMED = "The authorization server"
METADATA_S = 3_600
"""How long metadata is used before it is asked for again."""
ASSERTION_S = 60

JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

KNOWN_ERRORS = frozenset({
    "access_denied", "invalid_client", "invalid_dpop_proof", "invalid_grant", "invalid_request",
    "invalid_scope", "invalid_target", "server_error", "temporarily_unavailable",
    "unauthorized_client", "unsupported_grant_type", "unsupported_token_type", "use_dpop_nonce",
})  # fmt: skip
"""Codes of errors that are repeated to people; any other text of an answer is not."""


class Metadata(Value):
    """Endpoints of a server; `revocation` is empty where there is none."""

    token: str
    revocation: str
    dpop: bool


class OAuthServer:
    """One authorization server, and Midflight as its client."""

    def __init__(
        self,
        settings: OAuthSettings,
        *,
        calls: Calls,
        references: SecretReader,
        clock: Clock,
        signer: Signer | None,
    ) -> None:
        self._settings, self._calls = settings, calls
        self._references, self._clock, self._signer = references, clock, signer
        self._known: tuple[float, Metadata] | None = None

    async def metadata(self) -> Metadata:
        """The server's metadata, at most an hour old.

        Raises:
            Misconfigured: it is another issuer's, or sends calls where they may not go.
        """
        now = self._clock.monotonic()
        if self._known is None or self._known[0] <= now:
            self._known = now + METADATA_S, await self._asked()
        return self._known[1]

    async def token(self, form: Mapping[str, str], *, key: DpopKey | None) -> JSONObject:
        """Ask the token endpoint; the answer's members.

        Raises:
            Misconfigured: it refuses. Unavailable: it does not answer.
        """
        url = (await self.metadata()).token
        answer = await self._post(url, form, key=key, nonce="")
        nonce = answer.headers.get("dpop-nonce", "")
        if key is not None and nonce and answer.text("error") == "use_dpop_nonce":
            answer = await self._post(url, form, key=key, nonce=nonce)
        if answer.status != 200:
            raise _refused("the request for a token", answer)
        return answer.json()

    async def revoke(self, token: str) -> bool:
        """Revoke an access token (RFC 7009), or False where the server cannot."""
        url = (await self.metadata()).revocation
        if not url:
            return False
        form = {"token": token, "token_type_hint": "access_token"}
        answer = await self._post(url, form, key=None, nonce="", again=True)
        if answer.status in {400, 503} and answer.text("error") == "unsupported_token_type":
            return False  # RFC 7009 §2.2.1: tokens of this kind end at their expiry
        if answer.status != 200:
            raise _refused("the revoking of a token", answer)
        return True

    async def close(self) -> None:
        """Close the connections."""
        await self._calls.close()

    async def _asked(self) -> Metadata:
        issuer = self._settings.issuer
        parts = urlsplit(issuer)
        path = parts.path.rstrip("/")
        origin = f"{parts.scheme}://{parts.netloc}"
        answer = await self._calls.send(
            "GET", f"{origin}/.well-known/oauth-authorization-server{path}", again=True
        )
        if answer.status == 404:
            answer = await self._calls.send(
                "GET", f"{origin}{path}/.well-known/openid-configuration", again=True
            )
        if answer.status != 200:
            raise failure(NAMED, "the request for its metadata", answer.status)
        if answer.text("issuer") != issuer:
            raise Misconfigured(
                "The metadata of an authorization server is that of another issuer.",
                hint=f"Check that {issuer} is its issuer, letter for letter.",
            )
        return Metadata(
            token=self._place(answer, "token_endpoint"),
            revocation=self._place(answer, "revocation_endpoint")
            if answer.text("revocation_endpoint")
            else "",
            dpop="ES256" in texts(answer.json(), "dpop_signing_alg_values_supported"),
        )

    def _place(self, answer: Answer, name: str) -> str:
        url = answer.text(name)
        allowed = {urlsplit(self._settings.issuer).netloc, *self._settings.hosts}
        if not is_safe_url(url) or urlsplit(url).netloc not in allowed:
            raise Misconfigured(
                f"The {name} of an authorization server is not on a host that it may be on.",
                hint="If that is right, list its host in hosts.",
            )
        return url

    async def _post(
        self,
        url: str,
        form: Mapping[str, str],
        *,
        key: DpopKey | None,
        nonce: str,
        again: bool = False,
    ) -> Answer:
        headers, more = await self._client()
        if key is not None:
            headers["DPoP"] = key.proof("POST", url, nonce=nonce)
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        headers["Accept"] = "application/json"
        # An assertion and a proof are good for one request, so only the secret may be repeated.
        once = key is not None or self._settings.method == "private_key_jwt"
        return await self._calls.send(
            "POST",
            url,
            headers=headers,
            body=urlencode({**form, **more}).encode("ascii"),
            again=again and not once,
        )

    async def _client(self) -> tuple[dict[str, str], dict[str, str]]:
        """Headers and form members that say who Midflight is (RFC 6749 §2.3, RFC 7523 §2.2)."""
        settings = self._settings
        if settings.method == "private_key_jwt":
            assertion = await self._assertion()
            more = {"client_assertion_type": JWT_BEARER, "client_assertion": assertion}
            return {}, {"client_id": settings.client_id, **more}
        secret = await self._references.read(settings.secret)
        if settings.method == "client_secret_post":
            return {}, {"client_id": settings.client_id, "client_secret": secret}
        pair = f"{quote(settings.client_id, safe='')}:{quote(secret, safe='')}"
        return {"Authorization": f"Basic {b64encode(pair.encode('ascii')).decode('ascii')}"}, {}

    async def _assertion(self) -> str:
        signer = self._signer
        if signer is None:
            signer = PemSigner(
                await self._references.read(self._settings.secret), named=self._settings.secret
            )
        now = int(self._clock.now())
        claims = {
            "iss": self._settings.client_id,
            "sub": self._settings.client_id,
            # The issuer and nothing else: an assertion for one server is good for no other.
            "aud": self._settings.issuer,
            "jti": self._clock.token(),
            "iat": now,
            "exp": now + ASSERTION_S,
        }
        return await signed_jwt(signer, claims)


def _refused(doing: str, answer: Answer) -> Exception:
    code = answer.text("error")
    passing = code in {"temporarily_unavailable", "server_error"}
    known = f" ({code})" if code in KNOWN_ERRORS else ""
    if passing:
        return Unavailable(f"{NAMED} answers {answer.status}{known} to {doing}.")
    return failure(
        NAMED,
        f"{doing}{known}",
        answer.status if answer.status >= 400 else 502,
        hint="Check the client, its key or secret, the scopes and the resource.",
    )


__all__ = ["KNOWN_ERRORS", "NAMED", "Metadata", "OAuthServer"]
