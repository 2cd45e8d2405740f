"""What a client's registration must look like, and what its metadata document says.

Documents are drafts of strangers (draft-ietf-oauth-client-id-metadata-document, with the names of
RFC 7591 §2): everything in one is checked as an operator's registration is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TypeGuard, cast
from urllib.parse import urlsplit

from midflight.domain.authorization import Client
from midflight.domain.errors import Malformed
from midflight.domain.identity import spiffe_id
from midflight.domain.scopes import scopes_of
from midflight.domain.value import JSONObject
from midflight.services.ports.authorization_proofs import AuthorizationProofs

MAX_URIS = 20
MAX_KEYS = 8
MAX_ID = 1_024

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
_URL = re.compile(r"[\x21-\x7e]+\Z")
# No control characters, and nothing that turns the direction of writing around.
_NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]{1,100}\Z")


def is_document(client_id: str) -> bool:
    """Whether a client id is the URL of a metadata document."""
    if len(client_id) > MAX_ID or _URL.match(client_id) is None or "#" in client_id:
        return False
    try:
        parts = urlsplit(client_id)
    except ValueError:
        return False
    return (
        parts.scheme == "https"
        and bool(parts.hostname)
        and "@" not in parts.netloc
        and parts.path not in {"", "/"}
        and not {".", ".."} & set(parts.path.split("/"))
    )


def client_of(document: JSONObject, url: str) -> Client:
    """What the document at a URL says of its client; its workload is not the document's to say.

    Raises:
        Malformed: it is of another client, or asks for what is not offered.
    """
    if document.get("client_id") != url:
        raise Malformed("its client_id is not its own URL")
    method = document.get("token_endpoint_auth_method", "none")
    if method not in {"none", "private_key_jwt"} or "client_secret" in document:
        raise Malformed("it asks for another way to prove itself than is taken here")
    uris = document.get("redirect_uris", [])
    jwks = document.get("jwks", {"keys": []})
    keys = cast("JSONObject", jwks).get("keys") if isinstance(jwks, dict) else None
    if not _all_text(uris):
        raise Malformed("its redirect_uris are no list of text")
    if not _all_objects(keys):
        raise Malformed("its jwks are no key set")
    if (method == "private_key_jwt") != bool(keys):
        raise Malformed("its keys and its token_endpoint_auth_method do not agree")
    return Client(
        id=url,
        workload="",
        name=str(document.get("client_name", urlsplit(url).hostname)),
        redirect_uris=tuple(uris),
        keys=tuple(keys),
        document=True,
    )


def problems(client: Client, proofs: AuthorizationProofs) -> list[str]:
    """Everything that is wrong with a registration, in words that complete "The client …"."""
    return [*_names(client), *_bounds(client), *_contents(client, proofs)]


def _names(client: Client) -> Iterator[str]:
    if client.document and not is_document(client.id):
        yield "its id is not the https URL of a document"
    if not client.document and _ID.match(client.id) is None:
        yield "its id is not 1 to 128 letters, digits, dots, dashes and underscores"
    if _NAME.match(client.name) is None:
        yield "its name is not 1 to 100 visible characters"
    if client.workload or not client.document:
        try:
            spiffe_id(client.workload)
        except ValueError:
            yield "its workload is not a SPIFFE ID"


def _bounds(client: Client) -> Iterator[str]:
    if len(client.redirect_uris) > MAX_URIS or len(client.keys) > MAX_KEYS:
        yield f"it has more than {MAX_URIS} redirect URIs or {MAX_KEYS} keys"


def _contents(client: Client, proofs: AuthorizationProofs) -> Iterator[str]:
    for uri in client.redirect_uris[:MAX_URIS]:
        problem = proofs.problem(uri)
        if problem is not None:
            yield f"a redirect URI {problem}"
    if not all(proofs.is_verifying_key(key) for key in client.keys[:MAX_KEYS]):
        yield "a key is not a public JWK for ES256 or EdDSA"
    if client.scope is not None:
        try:
            scopes_of(" ".join(client.scope))
        except ValueError as error:
            yield f"its scope: {error}"


def _all_text(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(
        isinstance(each, str) for each in cast("list[Any]", value)
    )


def _all_objects(value: Any) -> TypeGuard[list[JSONObject]]:
    return isinstance(value, list) and all(
        isinstance(each, dict) for each in cast("list[Any]", value)
    )


__all__ = ["MAX_KEYS", "MAX_URIS", "client_of", "is_document", "problems"]
