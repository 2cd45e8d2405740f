"""What an upstream and its authorization server say of themselves: decoders of hostile input.

Challenges (RFC 9728 §5.1, RFC 6750 §3), protected resource metadata (RFC 9728 §2) and authorization
server metadata (RFC 8414 §2, OpenID Connect Discovery §3). Decoded is what Midflight uses, as it
was written: identifiers are compared letter for letter and never normalised. Whether any of it is
believed is decided above, in `adapters/credentials/oauth_discovery.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import cast
from urllib.parse import urlsplit

from midflight.domain.errors import Malformed
from midflight.domain.value import JSONObject, Value

RESOURCE_PATH = "/.well-known/oauth-protected-resource"
SERVER_PATH = "/.well-known/oauth-authorization-server"
OPENID_PATH = "/.well-known/openid-configuration"
MAX_LISTED = 200
"""Texts of one list; real ones have a few dozen."""
MAX_CHALLENGE = 8_192

_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,256}\Z")
_TEXT = re.compile(r"[\x21-\x7e]{1,2048}\Z")
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 -- the `token` of RFC 9110 §5.6.2
_PARAMETER = re.compile(rf'({_TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))[ \t]*(?:,|\Z)')
_SCHEME = re.compile(rf"({_TOKEN})[ \t]+(?={_TOKEN}[ \t]*=)")
_SEPARATORS = re.compile(r"[ \t,]+")
_SCHEMES = frozenset({"bearer", "dpop"})


class AskedFor(Value):
    """What a 401 or 403 says is needed.

    Attributes:
        metadata: URL of the resource's metadata, or empty.
        scopes: what is needed, in order, without repetition.
        error: code of the error, or empty.
    """

    metadata: str = ""
    scopes: tuple[str, ...] = ()
    error: str = ""


class ResourceMetadata(Value):
    """Of a protected resource. `scopes` is None where it lists none."""

    resource: str
    servers: tuple[str, ...]
    scopes: tuple[str, ...] | None = None


class ServerMetadata(Value):
    """Of an authorization server; endpoints are empty where there is none.

    Attributes:
        issuer: as it stands there.
        token, authorization, registration, revocation: endpoints.
        methods: how clients may authenticate at the token endpoint.
        grants: grant types, or None where it does not say.
        scopes: scopes, or None where it does not say.
        challenge_methods: of PKCE; empty where it does not say, which is none.
        says_issuer: authorization responses hold `iss` (RFC 9207).
        proof_algorithms: of DPoP proofs.
        takes_documents: a URL of a client's metadata may be its id.
    """

    issuer: str
    token: str
    authorization: str = ""
    registration: str = ""
    revocation: str = ""
    methods: tuple[str, ...] = ("client_secret_basic",)
    grants: tuple[str, ...] | None = None
    scopes: tuple[str, ...] | None = None
    challenge_methods: tuple[str, ...] = ()
    says_issuer: bool = False
    proof_algorithms: tuple[str, ...] = ()
    takes_documents: bool = False


def read_challenge(header: str) -> AskedFor | None:
    """The challenge for a bearer or DPoP-bound token in `WWW-Authenticate`, or None.

    A header that cannot be read is none: it only ever helps to find what is checked anyway.
    """
    if len(header) > MAX_CHALLENGE:
        return None
    found: dict[str, str] = {}
    scheme, at = "", 0
    while at < len(header):
        begins = _SCHEME.match(header, at)
        if begins is not None:
            if scheme in _SCHEMES and found:
                break
            scheme, found, at = begins[1].lower(), {}, begins.end()
            continue
        parameter = _PARAMETER.match(header, at)
        if parameter is None:
            between = _SEPARATORS.match(header, at)
            if between is None:
                return None
            at = between.end()
            continue
        name, quoted, plain = parameter.groups()
        value = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        if name.lower() in found:
            return None  # which of the two counts differs from reader to reader
        found[name.lower()] = value
        at = parameter.end()
    if scheme not in _SCHEMES:
        return None
    where = found.get("resource_metadata", "")
    error = found.get("error", "")
    return AskedFor(
        metadata=where if _TEXT.match(where) else "",
        scopes=scopes_of(found.get("scope", "")),
        error=error if re.fullmatch(r"[a-z_]{1,64}", error) else "",
    )


def scopes_of(text: str) -> tuple[str, ...]:
    """The scopes in a text (RFC 6749 §3.3), each once; what is none is left out."""
    known = [scope for scope in text.split(" ") if _SCOPE.match(scope)]
    return tuple(dict.fromkeys(known))[:MAX_LISTED]


def read_resource(document: JSONObject) -> ResourceMetadata:
    """Protected resource metadata.

    Raises:
        Malformed: it names no resource, or a member is of another type than it must be.
    """
    scopes = _listed(document, "scopes_supported")
    return ResourceMetadata(
        resource=_required(document, "resource"),
        servers=_listed(document, "authorization_servers") or (),
        scopes=None if scopes is None else tuple(s for s in scopes if _SCOPE.match(s)),
    )


def read_server(document: JSONObject) -> ServerMetadata:
    """Authorization server metadata.

    Raises:
        Malformed: it names no issuer or token endpoint, or a member is of another type.
    """
    return ServerMetadata(
        issuer=_required(document, "issuer"),
        token=_required(document, "token_endpoint"),
        authorization=_text(document, "authorization_endpoint"),
        registration=_text(document, "registration_endpoint"),
        revocation=_text(document, "revocation_endpoint"),
        # RFC 8414 §2: what is meant where it does not say.
        methods=_listed(document, "token_endpoint_auth_methods_supported")
        or ("client_secret_basic",),
        grants=_listed(document, "grant_types_supported"),
        scopes=_listed(document, "scopes_supported"),
        challenge_methods=_listed(document, "code_challenge_methods_supported") or (),
        says_issuer=_flag(document, "authorization_response_iss_parameter_supported"),
        proof_algorithms=_listed(document, "dpop_signing_alg_values_supported") or (),
        takes_documents=_flag(document, "client_id_metadata_document_supported"),
    )


def resource_urls(resource: str) -> Sequence[tuple[str, str]]:
    """Where metadata of a resource may be, each with the identifier that it is for (RFC 9728 §3).

    First with the path of the resource, then of its origin as a whole.
    """
    parts = urlsplit(resource)
    origin = f"{parts.scheme}://{parts.netloc}"
    query = f"?{parts.query}" if parts.query else ""
    path = parts.path if parts.path != "/" else ""
    found = [(f"{origin}{RESOURCE_PATH}{path}{query}", resource)]
    if path or query:
        found.append((f"{origin}{RESOURCE_PATH}", origin))
    return found


def server_urls(issuer: str) -> Sequence[str]:
    """Where metadata of an issuer may be, in the order in which it is looked for.

    RFC 8414 §3.1, then OpenID Connect with the path put in and at the end (RFC 8414 §5).
    """
    parts = urlsplit(issuer)
    origin = f"{parts.scheme}://{parts.netloc}"
    path = parts.path.rstrip("/")
    found = [f"{origin}{SERVER_PATH}{path}", f"{origin}{OPENID_PATH}{path}"]
    if path:
        found.append(f"{origin}{path}{OPENID_PATH}")
    return found


def same_origin(one: str, other: str) -> bool:
    """Whether two URLs are of one scheme, host and port."""
    try:
        return _origin(one) == _origin(other)
    except ValueError:
        return False


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    return parts.scheme, parts.hostname or "", port


def _required(document: JSONObject, name: str) -> str:
    value = _text(document, name)
    if not value:
        raise Malformed(f"It has no {name}.")
    return value


def _text(document: JSONObject, name: str) -> str:
    value = document.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or _TEXT.match(value) is None:
        raise Malformed(f"Its {name} is no URL.")
    return value


def _listed(document: JSONObject, name: str) -> tuple[str, ...] | None:
    value = document.get(name)
    if value is None:
        return None
    items = cast("list[object]", value) if isinstance(value, list) else [None]
    if len(items) > MAX_LISTED or not all(isinstance(i, str) and _TEXT.match(i) for i in items):
        raise Malformed(f"Its {name} is no list of at most {MAX_LISTED} texts.")
    return tuple(dict.fromkeys(cast("list[str]", items)))


def _flag(document: JSONObject, name: str) -> bool:
    return document.get(name) is True


__all__ = [
    "MAX_CHALLENGE",
    "MAX_LISTED",
    "AskedFor",
    "ResourceMetadata",
    "ServerMetadata",
    "read_challenge",
    "read_resource",
    "read_server",
    "resource_urls",
    "same_origin",
    "scopes_of",
    "server_urls",
]
