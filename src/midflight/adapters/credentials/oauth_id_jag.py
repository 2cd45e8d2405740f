"""A grant that an organisation's identity provider gives for another server: an ID-JAG.

draft-ietf-oauth-identity-assertion-authz-grant, which MCP names enterprise-managed authorization. A
draft, so names may change. The provider is the one of the settings and never discovered: it sees
the identity of a person. What it gives is good for one server and one client, and is used once.
Above: `oauth.py`. Below: `oauth_server.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from midflight.adapters.credentials.calls import CallLimits, Calls
from midflight.adapters.credentials.oauth_answers import token_in
from midflight.adapters.credentials.oauth_identity import ClientIdentity
from midflight.adapters.credentials.oauth_server import Known, OAuthServer
from midflight.adapters.credentials.oauth_settings import OAuthSettings, client_of
from midflight.adapters.credentials.reading import Reading
from midflight.domain.errors import Misconfigured
from midflight.domain.lease import Credential
from midflight.domain.value import Value
from midflight.services.ports.clock import Clock
from midflight.services.ports.secret_reader import SecretReader
from midflight.wire.json import as_object

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ID_JAG = "urn:ietf:params:oauth:token-type:id-jag"
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"  # noqa: S105 -- a name


class IdpSettings(Value):
    """The group `idp` of the settings: a client at a provider, and whose identity it shows.

    Attributes:
        client: the provider's issuer, and Midflight as its client.
        subject_token: reference to what says who the person is, read for each grant.
        subject_token_type: of that.
    """

    client: OAuthSettings
    subject_token: str
    subject_token_type: str


class IdentityProvider:
    """See the module."""

    def __init__(
        self,
        credential: Credential,
        *,
        references: SecretReader,
        clock: Clock,
        limits: CallLimits,
    ) -> None:
        """`Misconfigured` names every problem of the group."""
        self._settings = read_idp(credential)
        self._references = references
        client = self._settings.client
        self._server = OAuthServer(
            client,
            calls=Calls(named="The identity provider", ca=client.ca, limits=limits),
            identity=ClientIdentity(client, references=references, clock=clock, signer=None),
            clock=clock,
        )

    async def assertion(self, known: Known, scopes: Sequence[str]) -> str:
        """A grant for one server, its resource, and no more than these scopes.

        Raises:
            Misconfigured: the provider refuses, or gives something else.
            Unavailable: it does not answer.
        """
        form = {
            "grant_type": EXCHANGE,
            "requested_token_type": ID_JAG,
            "audience": known.server.issuer,
            "resource": known.resource,
            "scope": " ".join(scopes),
            "subject_token": await self._references.read(self._settings.subject_token),
            "subject_token_type": self._settings.subject_token_type,
        }
        answer = await self._server.token({n: v for n, v in form.items() if v}, key=None)
        if answer.get("issued_token_type") != ID_JAG:
            raise Misconfigured(
                "The identity provider gives another token than a grant for the server.",
                hint="It has to support ID-JAG, for this client and this server.",
            )
        return token_in(answer)

    async def close(self) -> None:
        """Close the connections."""
        await self._server.close()


def read_idp(credential: Credential) -> IdpSettings:
    """The group, or `Misconfigured` with every problem of it."""
    found = as_object(credential.settings.get("idp")) or {}
    title = f"Credential {credential.name} cannot be used."
    with Reading(found, title=title, within="idp.") as reading:
        return IdpSettings(
            client=client_of(reading),
            subject_token=reading.reference("subject_token"),
            subject_token_type=reading.text(
                "subject_token_type", default=ID_TOKEN, form=r"[\x21-\x7e]+"
            ),
        )


__all__ = ["EXCHANGE", "ID_JAG", "IdentityProvider", "IdpSettings", "read_idp"]
