"""Settings of the OAuth backend. Above: `oauth.py`, `oauth_server.py`."""

from __future__ import annotations

from midflight.adapters.credentials.reading import Reading
from midflight.domain.lease import Credential
from midflight.domain.value import Value

SCOPE = r"[\x21\x23-\x5b\x5d-\x7e]+"
"""RFC 6749 §3.3."""
METHODS = ("private_key_jwt", "client_secret_basic", "client_secret_post", "none")
"""Ways to say who Midflight is at a token endpoint, the better ones first."""
GRANTS = frozenset(
    {"client_credentials", "token_exchange", "jwt_bearer", "id_jag", "authorization_code"}
)
JWT_TYPE = "urn:ietf:params:oauth:token-type:jwt"


class OAuthSettings(Value):
    """What `Credential.settings` says of an authorization server.

    Attributes:
        issuer: its issuer, letter for letter; its metadata is found from it (RFC 8414). Empty only
            with `discover`, until an operator's act pins it: then nothing can be leased.
        grant: `client_credentials`; `token_exchange` (RFC 8693) or `jwt_bearer` (RFC 7523) of a
            token for the workload; `id_jag` of a person's identity (`oauth_id_jag.py`);
            `authorization_code` of a person who has logged in.
        client_id: of Midflight there; empty where it registers when a person logs in.
        method: one of `METHODS`, or `auto`: what the server takes, of what there is a secret for.
        secret: reference to the client's secret or private key; empty with a configured signer.
        keyed: the secret is a private key, or a signer is in its place.
        resource: what tokens are for (RFC 8707), or empty. With `discover` the upstream's URL.
        discover: the upstream says which server stands for it (RFC 9728).
        private: what it names may be in a private network.
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
    keyed: bool = True
    resource: str = ""
    discover: bool = False
    private: bool = False
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
        discover = reading.flag("discover", default=False)
        grant = reading.choice("grant", GRANTS, default="client_credentials")
        person = grant == "authorization_code"
        method = reading.choice(
            "method",
            {*METHODS, "auto"},
            default="auto" if discover or person else "private_key_jwt",
        )
        if reading.has("issuer") or not discover:
            reading.url("issuer")  # its form; as an identifier it stays as it is written
        secret, keyed = _secret(reading, method, signer=signer, person=person)
        settings = OAuthSettings(
            issuer=reading.text("issuer", default=""),
            grant=grant,
            client_id=reading.text(
                "client_id", form=r"[\x20-\x7e]{1,512}", default="" if person else None
            ),
            method=method,
            secret=secret,
            keyed=keyed,
            resource=reading.text("resource", default="", form=r"[a-z][a-z0-9+.-]*:[^#\s]+"),
            discover=discover,
            private=reading.flag("private", default=False),
            audience=reading.text("audience", default="", form=r"[\x21-\x7e]+"),
            dpop=reading.flag("dpop", default=False),
            subject_token_type=reading.text(
                "subject_token_type", default=JWT_TYPE, form=r"[\x21-\x7e]+"
            ),
            hosts=reading.texts("hosts", form=r"[A-Za-z0-9.-]+(?::\d{1,5})?"),
            ca=reading.text("ca", default=""),
        )
        if discover:
            reading.url("resource")
        elif not (settings.resource or settings.audience):
            reading.problem("resource", "is missing (or audience): a token for anything is none")
        if reading.has("idp"):
            reading.known("idp")  # read by itself
        if (settings.grant == "id_jag") is not reading.has("idp"):
            reading.problem("idp", "is for the grant id_jag, which needs it")
        if settings.grant in {"token_exchange", "jwt_bearer"} and not subject:
            reading.problem("grant", f"is {grant}, and no token of a workload is to be had")
        if method == "none" and settings.grant in {"client_credentials", "token_exchange"}:
            reading.problem("method", f"is none, and with {grant} nothing else says who asks")
        if person and not settings.client_id and secret:
            reading.problem("client_id", "is missing: a secret is one of a client")
        if credential.scopes:
            reading.scopes(credential, form=SCOPE, like="reports:read")
    return settings


def client_of(reading: Reading) -> OAuthSettings:
    """Midflight as a client of a server that is shown an identity: its issuer, id and secret."""
    method = reading.choice("method", {*METHODS, "auto"}, default="auto")
    reading.url("issuer")
    secret, keyed = _secret(reading, method, signer=False, person=False)
    return OAuthSettings(
        issuer=reading.text("issuer", default=""),
        grant="token_exchange",
        client_id=reading.text("client_id", form=r"[\x20-\x7e]{1,512}"),
        method=method,
        secret=secret,
        keyed=keyed,
        hosts=reading.texts("hosts", form=r"[A-Za-z0-9.-]+(?::\d{1,5})?"),
        ca=reading.text("ca", default=""),
    )


def _secret(reading: Reading, method: str, *, signer: bool, person: bool) -> tuple[str, bool]:
    """The reference to what says who Midflight is, and whether it is a private key."""
    if method == "none":
        return "", False
    if method == "auto":
        if reading.has("client_secret"):
            return reading.reference("client_secret"), False
        key = reading.reference("private_key", required=False)
        # A server that is registered with at login knows no key of Midflight's.
        return key, bool(key) or (signer and not (person and not reading.has("client_id")))
    if method == "private_key_jwt":
        return reading.reference("private_key", required=not signer), True
    return reading.reference("client_secret"), False


__all__ = ["GRANTS", "JWT_TYPE", "METHODS", "OAuthSettings", "client_of", "read_oauth"]
