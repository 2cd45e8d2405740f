"""The authorization server's app over a plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

from midflight.apps.gateway.noise import Noise
from midflight.apps.oauth.app import OAuthApp
from midflight.apps.oauth.pages import Pages
from midflight.domain.value import JSONObject
from midflight.wire.oauth.documents import server_metadata

if TYPE_CHECKING:
    from midflight.apps.compose import Plane


def oauth_app(plane: Plane, *, noise: Noise) -> OAuthApp | None:
    """The app, or None where `[oauth] enabled` is false."""
    settings, oauth = plane.settings, plane.oauth
    if not settings.oauth.enabled:
        return None

    def metadata() -> JSONObject:
        return server_metadata(
            issuer=settings.issuer,
            base=settings.public_url,
            resource=oauth.resource,
            scopes=settings.scopes,
            documents=True,
            people=oauth.people.possible,
            mtls=settings.shows_certificates,
            assertions=bool(settings.oauth.id_jag_issuer),
        )

    return OAuthApp(
        authorization=oauth.authorization,
        pages=Pages(
            codes=oauth.authorization.codes,
            people=oauth.people,
            noise=noise,
            clock=plane.clock,
            issuer=settings.issuer,
            secure=settings.public_url.startswith("https:"),
        ),
        noise=noise,
        metadata=metadata,
        issuer=settings.issuer,
        public_url=settings.public_url,
    )


__all__ = ["oauth_app"]
