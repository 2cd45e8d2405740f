"""The exchange of a job's token for Midflight's (RFC 8693), bound to a fresh key (RFC 9449).

The key is made here, stays in a private file, and is never printed; so a token that leaks into a
log of the job is worth nothing without it.
"""

from __future__ import annotations

import secrets
import time
from typing import Any
from urllib.parse import urlsplit

import httpx2
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from midflight.domain import jose
from midflight.domain.errors import Forbidden, Malformed, Misconfigured, Unavailable
from midflight.domain.value import Discreet, JSONObject
from midflight.wire import json

GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT = "urn:ietf:params:oauth:token-type:jwt"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 -- the name of a type
METADATA = "/.well-known/oauth-authorization-server"
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class JobToken(Discreet):
    """What a job has got: the token and when it ends (Unix seconds)."""

    shown = ("expires_at",)

    token: str
    expires_at: int


class JobKey:
    """A P-256 key of one job. Its private part leaves only by `private`."""

    def __init__(self, key: ECKey | None = None) -> None:
        """A fresh one, or one that was kept."""
        self._key = key or ECKey.generate_key("P-256", private=True)

    @classmethod
    def kept(cls, raw: bytes) -> JobKey:
        """The key from what `private` gave. `Misconfigured` if it is none."""
        try:
            value = json.as_object(json.decode(raw)) or {}
            key = ECKey.import_key(value)
        except (Malformed, ValueError, JoseError):
            key = None
        if key is None or not key.is_private or key.curve_name != "P-256":
            raise Misconfigured("The file of the job's key holds none.")
        return cls(key)

    def private(self) -> bytes:
        """The private JWK, for a file that only its owner can read."""
        return json.encode(dict(self._key.as_dict(private=True)))

    def proof(self, *, method: str, url: str, token: str = "", nonce: str = "") -> str:
        """A DPoP proof for one request (RFC 9449 §4.2)."""
        public = self._key.as_dict(private=False)
        jwk = {name: public[name] for name in ("kty", "crv", "x", "y")}
        claims: JSONObject = {
            "jti": secrets.token_urlsafe(16),
            "htm": method,
            "htu": url,
            "iat": int(time.time()),
        }
        if token:
            claims["ath"] = jose.token_hash(token)
        if nonce:
            claims["nonce"] = nonce
        header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk}
        return jws.serialize_compact(header, json.encode(claims), self._key)


class Plane:
    """The gateway as its clients see it."""

    def __init__(self, url: str, *, http: httpx2.Client) -> None:
        """`url` is its public URL. `Misconfigured` unless https, or loopback."""
        parts = urlsplit(url)
        secure = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
        if not secure or not parts.hostname or "@" in parts.netloc or parts.query or parts.fragment:
            raise Misconfigured(
                "The plane's URL is not https.", hint="A CI token must not travel in the clear."
            )
        self.url = url.rstrip("/")
        self._http = http

    def exchange(self, ci_token: str, *, key: JobKey, resource: str, scope: str = "") -> JobToken:
        """Exchange the token of a job.

        Raises:
            Forbidden: the plane refuses; its words are repeated.
            Unavailable: it does not answer as an authorization server does.
        """
        endpoint = self._token_endpoint()
        form = {
            "grant_type": GRANT,
            "subject_token": ci_token,
            "subject_token_type": JWT,
            "requested_token_type": ACCESS_TOKEN,
            "resource": resource,
            **({"scope": scope} if scope else {}),
        }
        answer = self._post(endpoint, form, key=key)
        nonce = answer.headers.get("dpop-nonce", "")
        if answer.status_code == 400 and nonce and _error(answer) == "use_dpop_nonce":
            answer = self._post(endpoint, form, key=key, nonce=nonce)
        if answer.status_code != 200:
            raise _refused(answer)
        return _token(_object(answer))

    def end(self, token: str, *, key: JobKey) -> bool:
        """Say that the job has ended; whether that ended its run."""
        url = f"{self.url}/ci/end"
        headers = {
            "authorization": f"DPoP {token}",
            "dpop": key.proof(method="POST", url=url, token=token),
        }
        try:
            answer = self._http.post(url, headers=headers)
        except httpx2.HTTPError:
            raise _silent() from None
        if answer.status_code != 200:
            raise _refused(answer)
        return _object(answer).get("ended") is True

    def _post(
        self, endpoint: str, form: dict[str, str], *, key: JobKey, nonce: str = ""
    ) -> httpx2.Response:
        proof = key.proof(method="POST", url=endpoint, nonce=nonce)
        try:
            return self._http.post(endpoint, data=form, headers={"dpop": proof})
        except httpx2.HTTPError:
            raise _silent() from None

    def _token_endpoint(self) -> str:
        try:
            answer = self._http.get(self.url + METADATA)
        except httpx2.HTTPError:
            raise _silent() from None
        if answer.status_code != 200:
            raise _silent()
        value = _object(answer)
        endpoint = value.get("token_endpoint")
        # RFC 8414 §3.3; and the token must not be carried to another host than was named.
        if value.get("issuer") != self.url or not isinstance(endpoint, str):
            raise Unavailable(
                "The plane's metadata is of another issuer.", hint="Give its public URL, exactly."
            )
        if urlsplit(endpoint)[:2] != urlsplit(self.url)[:2]:
            raise Unavailable("The plane's metadata names a token endpoint on another host.")
        return endpoint


def _token(value: JSONObject) -> JobToken:
    token, lives = value.get("access_token"), value.get("expires_in")
    bound = str(value.get("token_type", "")).lower() == "dpop"
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise _silent()
    if not bound or type(lives) is not int or not 0 < lives <= 3_600:
        # A token that is not bound to the key is refused: somebody else could use it as well.
        raise Unavailable("The plane gave a token that is not bound to the job's key.")
    return JobToken(token=token, expires_at=int(time.time()) + lives)


def _object(answer: httpx2.Response) -> JSONObject:
    try:
        value = json.as_object(json.decode(answer.content))
    except Malformed:
        value = None
    if value is None:
        raise _silent()
    return value


def _error(answer: httpx2.Response) -> Any:
    try:
        return (json.as_object(json.decode(answer.content)) or {}).get("error")
    except Malformed:
        return None


def _refused(answer: httpx2.Response) -> Forbidden | Unavailable:
    try:
        value = json.as_object(json.decode(answer.content)) or {}
    except Malformed:
        value = {}
    told = value.get("error_description") or value.get("message") or value.get("error") or ""
    words = "".join(c for c in str(told)[:500] if c.isprintable())
    if answer.status_code >= 500:
        if not words:
            return _silent()
        return Unavailable(
            f"The plane cannot do it now ({answer.status_code}): {words}", hint="Try again later."
        )
    return Forbidden(
        f"The plane refuses this job ({answer.status_code}): {words or 'without a reason'}",
        hint="An operator looks at [[ci.issuer]] and at the ledger.",
    )


def _silent() -> Unavailable:
    return Unavailable(
        "The plane does not answer as an authorization server does.",
        hint="Look at --plane; it is the public URL of the gateway.",
    )


__all__ = ["ACCESS_TOKEN", "GRANT", "JWT", "JobKey", "JobToken", "Plane"]
