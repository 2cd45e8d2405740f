"""Who Midflight is at a server where a person logs in: known there, its own document, or new.

A client of the settings goes before a Client ID Metadata Document (its URL is the id), and that
before registering (RFC 7591), which gives an id for this one login. Above: `oauth_login.py`.
"""

from __future__ import annotations

from midflight.adapters.credentials.oauth_identity import Registered
from midflight.adapters.credentials.oauth_server import NAMED, OAuthServer
from midflight.adapters.credentials.oauth_settings import OAuthSettings
from midflight.domain.errors import Misconfigured
from midflight.domain.value import JSONObject
from midflight.wire.oauth.metadata import ServerMetadata

_METHODS = ("client_secret_basic", "client_secret_post", "none")


async def client_at(
    calls: OAuthServer, server: ServerMetadata, settings: OAuthSettings, redirect_uri: str
) -> Registered | None:
    """Who Midflight is at a server; None for the client of the settings.

    Raises:
        Misconfigured: the server knows nobody of that kind, and registers none.
        Unavailable: it does not answer.
    """
    given = settings.client_id
    if given:
        # With a secret it is a client that was registered under such an id.
        is_document = given.startswith("https://") and not settings.secret
        if is_document and not server.takes_documents:
            raise Misconfigured(
                f"{NAMED} takes no URL of a client's metadata as its id.",
                hint="Register Midflight there and set client_id, or leave it out.",
            )
        return Registered(id=given, method="none") if is_document else None
    method = next((each for each in _METHODS if each in server.methods), "")
    if not server.registration or not method:
        raise Misconfigured(
            f"{NAMED} registers no clients by itself.",
            hint="Register Midflight there, and set client_id.",
        )
    wanted: JSONObject = {
        "client_name": "Midflight",
        "application_type": "native",
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": method,
    }
    if settings.dpop:
        wanted["dpop_bound_access_tokens"] = True
    return _registered(await calls.register(wanted), method)


def _registered(answer: JSONObject, asked: str) -> Registered:
    client, secret = answer.get("client_id"), answer.get("client_secret", "")
    method = answer.get("token_endpoint_auth_method", asked)
    usable = isinstance(client, str) and isinstance(secret, str) and method in _METHODS
    if not usable or not client or not f"{client}{secret}".isascii():
        raise Misconfigured(f"{NAMED} registers Midflight in a way that cannot be used.")
    if method != "none" and not secret:
        raise Misconfigured(f"{NAMED} registers Midflight without the secret that it wants.")
    return Registered(id=str(client), method=str(method), secret=str(secret))


__all__ = ["client_at"]
