"""What is known of an authorization server, and how Midflight calls it.

The issuer comes from the settings; metadata (RFC 8414) must name the very same one, and its
endpoints must be on the issuer's host or on one that the settings list, so that a document cannot
send secrets elsewhere. With `discover` the upstream must stand by the issuer, too.
Above: `oauth.py`, `oauth_login.py`. Below: `oauth_discovery.py`, `oauth_identity.py`, `calls.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit

from midflight.adapters.credentials.calls import Answer, Sends, failure
from midflight.adapters.credentials.dpop_proofs import DpopKey
from midflight.adapters.credentials.oauth_discovery import (
    Described,
    describe,
    require_listed,
    server_metadata,
)
from midflight.adapters.credentials.oauth_identity import ClientIdentity, Registered
from midflight.adapters.credentials.oauth_settings import OAuthSettings
from midflight.adapters.credentials.reading import is_safe_url
from midflight.domain.errors import Misconfigured, Unavailable
from midflight.domain.value import JSONObject, Value
from midflight.services.ports.clock import Clock
from midflight.wire import json
from midflight.wire.oauth.metadata import ServerMetadata

NAMED = "The authorization server"
METADATA_S = 3_600
"""How long metadata is used before it is asked for again."""

KNOWN_ERRORS = frozenset({
    "access_denied", "invalid_client", "invalid_client_metadata", "invalid_dpop_proof",
    "invalid_grant", "invalid_redirect_uri", "invalid_request", "invalid_scope", "invalid_target",
    "server_error", "temporarily_unavailable", "unauthorized_client", "unsupported_grant_type",
    "unsupported_token_type", "use_dpop_nonce",
})  # fmt: skip
"""Codes of errors that are repeated to people; any other text of an answer is not."""


class Known(Value):
    """A server, and what tokens of it are for (`resource`, empty if nothing says so)."""

    server: ServerMetadata
    resource: str


class OAuthServer:
    """One authorization server, and Midflight as its client."""

    def __init__(
        self, settings: OAuthSettings, *, calls: Sends, identity: ClientIdentity, clock: Clock
    ) -> None:
        """`calls` are guarded ones where an upstream names what is called."""
        self._settings, self._calls = settings, calls
        self._identity, self._clock = identity, clock
        self._known: tuple[float, Known] | None = None

    async def known(self, *, anew: bool = False) -> Known:
        """The server's metadata, at most an hour old, or asked for anew.

        Raises:
            Misconfigured: it is another issuer's, sends calls where they may not go, or the
                upstream does not name this issuer.
            Unavailable: one of the two does not answer.
        """
        now = self._clock.monotonic()
        if anew or self._known is None or self._known[0] <= now:
            self._known = None
            self._known = now + METADATA_S, await self._asked()
        return self._known[1]

    async def metadata(self) -> ServerMetadata:
        """The server's metadata; see `known`."""
        return (await self.known()).server

    async def described(self) -> Described:
        """What the upstream says now of who may call it."""
        return await describe(self._settings.resource, self._calls)

    async def token(
        self,
        form: Mapping[str, str],
        *,
        key: DpopKey | None,
        registered: Registered | None = None,
    ) -> JSONObject:
        """Ask the token endpoint; the answer's members.

        Raises:
            Misconfigured: it refuses. Unavailable: it does not answer.
        """
        url = (await self.metadata()).token
        answer = await self._post(url, form, key=key, nonce="", registered=registered)
        nonce = answer.headers.get("dpop-nonce", "")
        if key is not None and nonce and answer.text("error") == "use_dpop_nonce":
            answer = await self._post(url, form, key=key, nonce=nonce, registered=registered)
        if answer.status != 200:
            raise _refused("the request for a token", answer)
        return answer.json()

    async def register(self, metadata: JSONObject) -> JSONObject:
        """Register a client (RFC 7591); the answer's members.

        Raises:
            Misconfigured: the server registers nobody, or refuses. Unavailable: no answer.
        """
        url = self.place((await self.metadata()).registration, "registration_endpoint")
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        answer = await self._calls.send("POST", url, headers=headers, body=json.encode(metadata))
        if answer.status not in {200, 201}:
            raise _refused("the registration of Midflight as a client", answer)
        return answer.json()

    async def revoke(
        self,
        token: str,
        *,
        hint: str = "access_token",
        registered: Registered | None = None,
        issuer: str = "",
    ) -> bool:
        """Revoke a token (RFC 7009) of `issuer`, or False where the server cannot."""
        server = await self.metadata()
        if not server.revocation or issuer not in {"", server.issuer}:
            return False
        url, form = server.revocation, {"token": token, "token_type_hint": hint}
        answer = await self._post(url, form, key=None, nonce="", again=True, registered=registered)
        if answer.status in {400, 503} and answer.text("error") == "unsupported_token_type":
            return False  # RFC 7009 §2.2.1: tokens of this kind end at their expiry
        if answer.status != 200:
            raise _refused("the revoking of a token", answer)
        return True

    def place(self, url: str, name: str) -> str:
        """An endpoint, if it is where it may be. `Misconfigured` if it is not."""
        allowed = {urlsplit(self._settings.issuer).netloc, *self._settings.hosts}
        if not is_safe_url(url) or urlsplit(url).netloc not in allowed:
            raise Misconfigured(
                f"The {name} of an authorization server is not on a host that it may be on.",
                hint="If that is right, list its host in hosts.",
            )
        return url

    async def close(self) -> None:
        """Close the connections."""
        await self._calls.close()

    async def _asked(self) -> Known:
        settings = self._settings
        if not settings.issuer:
            raise Misconfigured(
                "No authorization server is pinned, so no credential goes to any.",
                hint="midflight credential add pins what the upstream names; or --set issuer=URL.",
            )
        resource = settings.resource
        if settings.discover:
            described = await self.described()
            require_listed(described, settings.issuer)
            resource = described.resource
        server = await server_metadata(settings.issuer, self._calls)
        self.place(server.token, "token_endpoint")
        if server.revocation:
            self.place(server.revocation, "revocation_endpoint")
        return Known(server=server, resource=resource)

    async def _post(
        self,
        url: str,
        form: Mapping[str, str],
        *,
        key: DpopKey | None,
        nonce: str,
        again: bool = False,
        registered: Registered | None = None,
    ) -> Answer:
        headers, more = await self._identity.said(await self.metadata(), registered)
        if key is not None:
            headers["DPoP"] = key.proof("POST", url, nonce=nonce)
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        headers["Accept"] = "application/json"
        # An assertion and a proof are good for one request, so only the secret may be repeated.
        once = key is not None or "client_assertion" in more
        return await self._calls.send(
            "POST",
            url,
            headers=headers,
            body=urlencode({**form, **more}).encode("ascii"),
            again=again and not once,
        )


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


__all__ = ["KNOWN_ERRORS", "NAMED", "Known", "OAuthServer"]
