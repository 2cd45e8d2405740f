"""Settings of the OAuth backend. Above: `oauth.py`, `oauth_server.py`."""

from __future__ import annotations

from midflight.adapters.credentials.reading import Reading
from midflight.domain.lease import Credential
from midflight.domain.value import Value

SCOPE = r"[\x21\x23-\x5b\x5d-\x7e]+"
"""RFC 6749 §3.3."""
JWT_TYPE = "urn:ietf:params:oauth:token-type:jwt"


class OAuthSettings(Value):
    """What `Credential.settings` says of an authorization server.

    Attributes:
        issuer: its issuer, letter for letter; its metadata is found from it (RFC 8414).
        grant: `client_credentials`, or `token_exchange` (RFC 8693) of a token for the workload.
        client_id: of Midflight there.
        method: `private_key_jwt`, `client_secret_basic` or `client_secret_post`.
        secret: reference to the client's secret or private key; empty with a configured signer.
        resource: what tokens are for (RFC 8707), or empty.
        audience: the same, for servers that know it by this name.
        dpop: tokens are bound to a key of the lease (RFC 9449); a bearer token is refused then.
        subject_token_type: of what is exchanged.
        hosts: hosts, with their ports, that endpoints may be on besides the issuer's.
        ca: a PEM file of CAs that are trusted instead of the system's, or empty.
    """

    issuer: str
    grant: str
    client_id: str
    method: str
    secret: str
    resource: str = ""
    audience: str = ""
    dpop: bool = False
    subject_token_type: str = JWT_TYPE
    hosts: tuple[str, ...] = ()
    ca: str = ""


def read_oauth(credential: Credential, *, signer: bool, subject: bool) -> OAuthSettings:
    """The settings, or `Misconfigured` with every problem.

    Args:
        credential: whose settings they are.
        signer: a signer stands in for a private key.
        subject: there is a way to get a workload's token, for `token_exchange`.
    """
    with Reading.of(credential) as reading:
        methods = {"private_key_jwt", "client_secret_basic", "client_secret_post"}
        method = reading.choice("method", methods, default="private_key_jwt")
        keyed = method == "private_key_jwt"
        reading.url("issuer")  # its form; as an identifier it stays as it is written
        settings = OAuthSettings(
            issuer=reading.text("issuer", default=""),
            grant=reading.choice(
                "grant", {"client_credentials", "token_exchange"}, default="client_credentials"
            ),
            client_id=reading.text("client_id", form=r"[\x20-\x7e]{1,512}"),
            method=method,
            secret=reading.reference(
                "private_key" if keyed else "client_secret", required=not (keyed and signer)
            ),
            resource=reading.text("resource", default="", form=r"[a-z][a-z0-9+.-]*:[^#\s]+"),
            audience=reading.text("audience", default="", form=r"[\x21-\x7e]+"),
            dpop=reading.flag("dpop", default=False),
            subject_token_type=reading.text(
                "subject_token_type", default=JWT_TYPE, form=r"[\x21-\x7e]+"
            ),
            hosts=reading.texts("hosts", form=r"[A-Za-z0-9.-]+(?::\d{1,5})?"),
            ca=reading.text("ca", default=""),
        )
        if not (settings.resource or settings.audience):
            reading.problem("resource", "is missing (or audience): a token for anything is none")
        if settings.grant == "token_exchange" and not subject:
            reading.problem("grant", "is token_exchange, and no token of a workload is to be had")
        if credential.scopes:
            reading.scopes(credential, form=SCOPE, like="reports:read")
    return settings


__all__ = ["JWT_TYPE", "OAuthSettings", "read_oauth"]
