"""An OpenID provider of the settings: code flow with PKCE and nonce (OpenID Connect Core §3.1).

The issuer is an operator's word, so its host may be anywhere; what it says is bounded all the same:
no redirects, 256 KiB, ten seconds for everything together, endpoints of its own origin or https.
The ID token is verified with the keys that its own metadata names, and counts once. Tokens of
strangers can make it ask for keys, so it asks once for all who wait, and not again right after.
"""

from __future__ import annotations

import asyncio
import hmac
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal, cast
from urllib.parse import urlencode, urlsplit

import httpx2

from midflight.domain.authorization import Person, is_person_name
from midflight.domain.errors import Malformed, Unauthenticated, UpstreamUnavailable
from midflight.domain.outside_token import OutsideToken, Profile
from midflight.domain.value import JSONObject
from midflight.services.ports.clock import Clock
from midflight.wire import json
from midflight.wire.oauth.pkce import METHOD, challenge_of
from midflight.wire.tokens import unverified, verify

TIMEOUT_S = 10.0
MAX_BYTES = 262_144
KEPT_S = 300.0
AGAIN_S = 30.0
"""How soon keys are asked for again because of a key id that is not among them."""
LEEWAY_S = 60
"""How far its clock may be from ours."""
RETRY_S = 5.0
"""How soon it is asked again after it did not answer."""
_URL = re.compile(r"[\x21-\x7e]{1,2048}\Z")
_HEADERS = {"accept": "application/json", "accept-encoding": "identity"}


class OidcLogin:
    """`LoginProvider` over HTTP."""

    _endpoints: Sequence[str] = ("authorization_endpoint", "token_endpoint", "jwks_uri")

    def __init__(
        self,
        *,
        issuer: str,
        client_id: str,
        client_secret: Callable[[], str],
        claim: Literal["sub", "email"],
        redirect_uri: str,
        clock: Clock,
        groups_claim: str = "",
        max_age_s: int | None = None,
    ) -> None:
        """`client_secret` reads the secret when it is needed; it is kept nowhere.

        `groups_claim` is what says in which groups a person is. With `max_age_s` the provider has
        to have seen him in that time, and to say when (OpenID Connect Core §3.1.2.1).
        """
        self._issuer = issuer
        self._client_id = client_id
        self._client_secret = client_secret
        self._claim = claim
        self._redirect_uri = redirect_uri
        self._clock = clock
        self._groups_claim = groups_claim
        self._max_age_s = max_age_s
        self._metadata: tuple[float, JSONObject] | None = None
        self._keys: tuple[float, JSONObject] | None = None
        self._turn, self._turn_of_keys = asyncio.Lock(), asyncio.Lock()
        self._tried = self._tried_keys = -math.inf

    @property
    def issuer(self) -> str:
        """Its issuer, exactly."""
        return self._issuer

    async def begin(self, *, state: str, nonce: str, verifier: str) -> str:
        """Where to send the browser."""
        endpoint = (await self._discovered())["authorization_endpoint"]
        more = {} if self._max_age_s is None else {"max_age": str(self._max_age_s)}
        query = urlencode(
            {
                **more,
                "response_type": "code",
                "client_id": self._client_id,
                "redirect_uri": self._redirect_uri,
                "scope": "openid" if self._claim == "sub" else "openid email",
                "state": state,
                "nonce": nonce,
                "code_challenge": challenge_of(verifier),
                "code_challenge_method": METHOD,
            }
        )
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{query}"

    async def finish(self, *, code: str, nonce: str, verifier: str) -> Person:
        """Who came back."""
        endpoint = (await self._discovered())["token_endpoint"]
        answer = await self._asked(
            "POST",
            endpoint,
            data={
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": self._redirect_uri,
                "code_verifier": verifier,
            },
        )
        text = answer.get("id_token")
        if not isinstance(text, str):
            raise Unauthenticated("The provider gave no ID token.")
        token = await self._verified(text)
        said = token.claims.get("nonce")
        if not isinstance(said, str) or not hmac.compare_digest(said.encode(), nonce.encode()):
            raise Unauthenticated("The ID token is for another sign-in.")
        return self._person(token)

    async def person_of(self, id_token: str) -> tuple[Person, str, int]:
        """Whom an ID token for us is of, what its single use is of, and when it ends."""
        token = await self._verified(id_token)
        return self._person(token), token.replay_key, token.until

    # Inside

    async def _verified(self, text: str) -> OutsideToken:
        profile = Profile(
            kind="ID token",
            issuer=self._issuer,
            audience=self._client_id,
            algorithms=("RS256", "PS256", "ES256", "EdDSA"),
            types=("JWT", None),
            required=("iat",),
            max_age_s=600,
            kid_required=False,
        )
        jwks = await self._jwks(unverified(text).kid)
        token = verify(text, profile=profile, jwks=jwks, now=self._clock.now())
        party = token.claims.get("azp", self._client_id)
        if party != self._client_id:  # OpenID Connect Core §3.1.3.7
            raise Unauthenticated("The ID token was given to another client.")
        return token

    def _person(self, token: OutsideToken) -> Person:
        name = token.claims.get(self._claim)
        if self._claim == "email" and token.claims.get("email_verified") is not True:
            raise Unauthenticated("The provider has not verified the address.")
        if not isinstance(name, str) or not is_person_name(name):
            raise Unauthenticated("The ID token names nobody that can be recorded.")
        return Person(
            name=name,
            proof=f"oidc:{self._issuer}",
            groups=self._groups(token),
            at=self._proved_at(token),
        )

    def _groups(self, token: OutsideToken) -> tuple[str, ...]:
        """A list of texts, or nothing: a text is no list of its letters."""
        said: Any = token.claims.get(self._groups_claim) if self._groups_claim else None
        if not isinstance(said, list):
            return ()
        return tuple(each for each in cast("list[Any]", said) if isinstance(each, str))

    def _proved_at(self, token: OutsideToken) -> int | None:
        if self._max_age_s is None:
            return None
        at: Any = token.claims.get("auth_time")
        now = self._clock.now()
        if not isinstance(at, int) or isinstance(at, bool):
            raise Unauthenticated("The provider does not say when you logged in.")
        if not now - self._max_age_s - LEEWAY_S <= at <= now + LEEWAY_S:
            raise Unauthenticated("The provider saw you too long ago.")
        return at

    async def _discovered(self) -> JSONObject:
        async with self._turn:
            now = self._clock.monotonic()
            if self._metadata is not None and self._metadata[0] > now:
                return self._metadata[1]
            _pause(self._tried, now)
            self._tried = now
            where = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
            found = await self._asked("GET", where)
            if found.get("issuer") != self._issuer:
                raise Unauthenticated("The provider's metadata is of another issuer.")
            if not all(self._usable(found.get(name)) for name in self._endpoints):
                raise Unauthenticated("The provider's metadata names no endpoints to be used.")
            self._metadata = (now + KEPT_S, found)
            return found

    def _usable(self, url: object) -> bool:
        # It may become a `Location`, so nothing that ends a line.
        if not isinstance(url, str) or _URL.match(url) is None:
            return False
        try:
            parts, own = urlsplit(url), urlsplit(self._issuer)
        except ValueError:  # brackets around what is no address
            return False
        if "@" in parts.netloc:
            return False
        return parts.scheme == "https" or (parts.scheme, parts.netloc) == (own.scheme, own.netloc)

    async def _jwks(self, kid: str) -> JSONObject:
        known = self._usable_keys(kid)
        if known is not None:
            return known
        async with self._turn_of_keys:
            known = self._usable_keys(kid)  # whoever was before has asked
            if known is not None:
                return known
            now = self._clock.monotonic()
            _pause(self._tried_keys, now)
            self._tried_keys = now
            found = await self._asked("GET", (await self._discovered())["jwks_uri"])
            keys: Any = found.get("keys")
            if not isinstance(keys, list):
                raise Unauthenticated("The provider's keys are no key set.")
            plain: JSONObject = {
                "keys": [key for key in cast("list[Any]", keys) if isinstance(key, dict)]
            }
            self._keys = (now, plain)
            return plain

    def _usable_keys(self, kid: str) -> JSONObject | None:
        """The keys, if they need not be asked for now."""
        now = self._clock.monotonic()
        if self._keys is None or self._keys[0] + KEPT_S <= now:
            return None
        found = self._keys[1]
        known = not kid or any(key.get("kid") == kid for key in found["keys"])
        return found if known or self._tried_keys + AGAIN_S > now else None

    async def _asked(
        self, method: str, url: str, *, data: dict[str, str] | None = None
    ) -> JSONObject:
        # RFC 6749 §2.3.1 has both parts form-encoded first.
        auth = None
        if data is not None:
            auth = httpx2.BasicAuth(encoded(self._client_id), encoded(self._client_secret()))
        status, found = await sent(method, url, data=data, auth=auth)
        if status in {400, 401}:
            raise Unauthenticated("The identity provider refused the sign-in.")
        if status != 200:
            raise UpstreamUnavailable("The identity provider does not answer as it should.")
        if found is None:
            raise UpstreamUnavailable("The identity provider answers without JSON.")
        return found


async def sent(
    method: str, url: str, *, data: dict[str, str] | None, auth: httpx2.BasicAuth | None
) -> tuple[int, JSONObject | None]:
    """One request to a provider: the status, and the JSON object if there is one.

    Raises:
        UpstreamUnavailable: it cannot be reached, or says too much.
    """
    try:
        async with (
            # The client's own limits are for each step.
            asyncio.timeout(TIMEOUT_S),
            httpx2.AsyncClient(
                timeout=TIMEOUT_S, trust_env=False, follow_redirects=False, auth=auth
            ) as http,
            http.stream(method, url, data=data, headers=_HEADERS) as answer,
        ):
            raw = b""
            if answer.headers.get("content-encoding", "identity").lower() != "identity":
                raise UpstreamUnavailable("The identity provider answers in a strange coding.")
            async for piece in answer.aiter_raw():
                raw += piece
                if len(raw) > MAX_BYTES:
                    raise UpstreamUnavailable("The identity provider says too much.")
            status = answer.status_code
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError):  # TimeoutError is among these
        raise UpstreamUnavailable("The identity provider cannot be reached.") from None
    try:
        found = json.decode(raw)
    except Malformed:
        found = None
    return status, found if isinstance(found, dict) else None


def _pause(tried: float, now: float) -> None:
    """`UpstreamUnavailable` if it was asked a moment ago and has not answered."""
    if tried + RETRY_S > now:
        raise UpstreamUnavailable("The identity provider did not answer a moment ago.")


def encoded(text: str) -> str:
    """A part of HTTP Basic as RFC 6749 §2.3.1 has it."""
    return urlencode({"": text})[1:]


__all__ = ["OidcLogin", "encoded", "sent"]
