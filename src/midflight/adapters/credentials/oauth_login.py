"""A person logs in for an upstream: the authorization code grant with PKCE, Midflight as client.

OAuth 2.1 §4.1, RFC 7636 (S256 alone), RFC 8707, RFC 9207, RFC 8252 §7.3. What comes back is kept
sealed; leases get access tokens made of it, and never the refresh token. Bound to the issuer that
was pinned: a login at one server is good for no other.
Above: `oauth.py`. Below: `oauth_registration.py`, `oauth_server.py`, `services/ports/logins.py`.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
from collections.abc import Mapping, Sequence
from urllib.parse import urlencode, urlsplit

import msgspec
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from midflight.adapters.credentials.dpop_proofs import DpopKey
from midflight.adapters.credentials.oauth_answers import Answered, answered
from midflight.adapters.credentials.oauth_identity import Registered
from midflight.adapters.credentials.oauth_registration import client_at
from midflight.adapters.credentials.oauth_server import KNOWN_ERRORS, NAMED, Known, OAuthServer
from midflight.adapters.credentials.oauth_settings import OAuthSettings
from midflight.adapters.credentials.reading import is_loopback
from midflight.domain.errors import (
    Forbidden,
    Malformed,
    MidflightError,
    Misconfigured,
    NotFound,
)
from midflight.domain.lease import Credential, Lease
from midflight.domain.value import Discreet
from midflight.services.ports.clock import Clock
from midflight.services.ports.logins import BegunLogin, EndedLogin, Logins
from midflight.wire.oauth.pkce import METHOD, challenge_of

log = structlog.get_logger(__name__)

PENDING_S = 600
"""How long a login waits for its person."""
MAX_PENDING = 16
OFFLINE = "offline_access"
"""Scope that asks for a refresh token where a server lists it (OpenID Connect Core §11)."""


class _Pending(Discreet):
    shown = ("id",)

    id: str
    state: str
    verifier: str
    redirect_uri: str
    known: Known
    registered: Registered | None
    scopes: tuple[str, ...]
    key: str
    ends: float


class _Kept(Discreet):
    """What is kept of a login. Stored: append, never change."""

    shown = ("issuer",)

    issuer: str
    resource: str
    scopes: tuple[str, ...]
    refresh: str
    access: str
    expires_at: int
    key: str = ""
    client: Registered | None = None


class OAuthLogin:
    """Logins of one credential."""

    def __init__(
        self,
        credential: Credential,
        settings: OAuthSettings,
        *,
        server: OAuthServer,
        logins: Logins,
        clock: Clock,
    ) -> None:
        """Shares its parts with the backend."""
        self._credential, self._settings = credential, settings
        self._server, self._logins, self._clock = server, logins, clock
        self._pending: dict[str, _Pending] = {}
        self._lock = asyncio.Lock()

    async def begin(self, redirect_uri: str) -> BegunLogin:
        """Begin a login. See `LogsIn.begin_login`."""
        _require_loopback(redirect_uri)
        known = await self._server.known(anew=True)
        server = known.server
        if METHOD not in server.challenge_methods:
            raise Misconfigured(
                f"{NAMED} does not say that it takes PKCE with {METHOD}, so nobody is sent there: "
                "a code that somebody intercepts would be good for them.",
                hint="It has to list code_challenge_methods_supported.",
            )
        endpoint = self._server.place(server.authorization, "authorization_endpoint")
        registered = await client_at(self._server, server, self._settings, redirect_uri)
        client = self._settings.client_id if registered is None else registered.id
        scopes = self._credential.scopes
        if scopes and OFFLINE in (server.scopes or ()) and OFFLINE not in scopes:
            # Alone it would be all that is asked for, where nothing else has to be.
            scopes = (*scopes, OFFLINE)
        key = DpopKey.fresh(clock=self._clock) if self._settings.dpop else None
        one = _Pending(
            id=self._clock.token(),
            state=secrets.token_urlsafe(32),
            verifier=secrets.token_urlsafe(48),
            redirect_uri=redirect_uri,
            known=known,
            registered=registered,
            scopes=scopes,
            key="" if key is None else key.private_jwk(),
            ends=self._clock.monotonic() + PENDING_S,
        )
        query = {
            "response_type": "code",
            "client_id": client,
            "redirect_uri": redirect_uri,
            "state": one.state,
            "code_challenge": challenge_of(one.verifier),
            "code_challenge_method": METHOD,
            "scope": " ".join(scopes),
            "resource": known.resource,
            "dpop_jkt": "" if key is None else key.thumbprint,
        }
        more = urlencode({name: value for name, value in query.items() if value})
        self._remember(one)
        joint = "&" if urlsplit(endpoint).query else "?"
        return BegunLogin(
            id=one.id, url=f"{endpoint}{joint}{more}", issuer=server.issuer, scopes=scopes
        )

    async def finish(self, login: str, parameters: Mapping[str, str]) -> EndedLogin:
        """End it. See `LogsIn.finish_login`."""
        one = self._pending.pop(login, None)
        if one is None or one.ends <= self._clock.monotonic():
            raise NotFound(
                "No such login waits for an answer.",
                hint=f"Begin again: midflight credential login {self._credential.name}.",
            )
        code = _code(one, parameters)
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": one.redirect_uri,
            "code_verifier": one.verifier,
            "resource": one.known.resource,
        }
        got = await self._ask(form, one.key, one.registered, scopes=one.scopes)
        kept = _Kept(
            issuer=one.known.server.issuer,
            resource=one.known.resource,
            scopes=got.scopes,
            refresh=got.refresh,
            access=got.token,
            expires_at=got.expires_at,
            key=one.key,
            client=one.registered,
        )
        async with self._lock:
            await self._keep(kept)
        return EndedLogin(
            issuer=kept.issuer,
            scopes=kept.scopes,
            lasts="until somebody ends it there"
            if kept.refresh
            else f"{got.expires_at - int(self._clock.now())} seconds, since no refresh token came",
        )

    async def access(self, lease: Lease) -> tuple[Answered, str]:
        """An access token for a lease, and the private key that it is bound to, or an empty text.

        Raises:
            Misconfigured: nobody has logged in, or the login is over or at another server.
        """
        async with self._lock:
            kept = await self._kept()
            known = await self._server.known()
            if kept.issuer != known.server.issuer or kept.resource != known.resource:
                raise self._again("was at another authorization server or for another resource")
            if not kept.refresh:
                return self._as_it_is(kept, lease), kept.key
            form = {
                "grant_type": "refresh_token",
                "refresh_token": kept.refresh,
                "scope": " ".join(lease.scopes),
                "resource": kept.resource,
            }
            offline = (OFFLINE,) if OFFLINE in kept.scopes else ()
            got = await self._ask(form, kept.key, kept.client, scopes=(*lease.scopes, *offline))
            if got.refresh and got.refresh != kept.refresh:
                # Before the token is used: the one that was used may be dead already.
                await self._keep(msgspec.structs.replace(kept, refresh=got.refresh))
            return got, kept.key

    async def forget(self) -> None:
        """Forget what was kept, and end it at the server if that listens (RFC 7009)."""
        async with self._lock:
            try:
                kept = await self._kept()
                await self._server.revoke(
                    kept.refresh or kept.access,
                    hint="refresh_token" if kept.refresh else "access_token",
                    registered=kept.client,
                    issuer=kept.issuer,
                )
            except MidflightError as error:
                # It is forgotten all the same; whoever removes it must not wait for a server.
                log.warning(
                    "login_not_ended_there", credential=self._credential.name, why=str(error)
                )
            finally:
                await self._logins.forget(self._credential.name)

    # Inside

    async def _ask(
        self,
        form: Mapping[str, str],
        key: str,
        registered: Registered | None,
        *,
        scopes: Sequence[str],
    ) -> Answered:
        proving = None if not key else _key_of(key, clock=self._clock)
        answer = await self._server.token(
            {name: value for name, value in form.items() if value},
            key=proving,
            registered=registered,
        )
        return answered(answer, asked=scopes, dpop=proving is not None, now=int(self._clock.now()))

    def _as_it_is(self, kept: _Kept, lease: Lease) -> Answered:
        if kept.expires_at <= int(self._clock.now()):
            raise self._again("is over")
        if not set(kept.scopes) <= {*lease.scopes, OFFLINE}:
            raise Misconfigured(
                f"The login of credential {self._credential.name} cannot be narrowed to a lease, "
                "since no refresh token came with it.",
                hint="Log in with a credential of its own that has no more than these scopes.",
            )
        return Answered(token=kept.access, scopes=kept.scopes, expires_at=kept.expires_at)

    async def _kept(self) -> _Kept:
        text = await self._logins.get(self._credential.name)
        if text is None:
            raise self._again("has not taken place")
        try:
            return msgspec.json.decode(text, type=_Kept)
        except msgspec.MsgspecError:
            raise self._again("is not readable") from None

    async def _keep(self, kept: _Kept) -> None:
        await self._logins.put(self._credential.name, msgspec.json.encode(kept).decode())

    def _again(self, why: str) -> Misconfigured:
        name = self._credential.name
        return Misconfigured(
            f"The login of credential {name} {why}.", hint=f"midflight credential login {name}"
        )

    def _remember(self, one: _Pending) -> None:
        now = self._clock.monotonic()
        waiting = {i: p for i, p in self._pending.items() if p.ends > now}
        while len(waiting) >= MAX_PENDING:
            waiting.pop(next(iter(waiting)))
        self._pending = {**waiting, one.id: one}


def _code(one: _Pending, parameters: Mapping[str, str]) -> str:
    """The code in an authorization response, if it is one to this login."""
    issuer = one.known.server.issuer
    if not hmac.compare_digest(parameters.get("state", "").encode(), one.state.encode()):
        raise Forbidden("The answer does not belong to this login.", hint="Begin again.")
    # RFC 9207 §2.4: as a text, letter for letter; before anything else in it is believed.
    said = parameters.get("iss")
    if (said is None and one.known.server.says_issuer) or said not in {None, issuer}:
        raise Forbidden(
            f"The answer does not come from {issuer}, where the login began.",
            hint="Somebody may have tried to mix up two authorization servers.",
        )
    error = parameters.get("error")
    if error is not None:
        shown = error if error in KNOWN_ERRORS else "an error"
        raise Forbidden(f"{NAMED} answers the login with {shown}.", hint="Begin again.")
    code = parameters.get("code", "")
    if not code:
        raise Malformed("The answer to the login holds no code.", hint="Begin again.")
    return code


def _key_of(text: str, *, clock: Clock) -> DpopKey:
    try:
        return DpopKey(ECKey.import_key(json.loads(text)), clock=clock)
    except (ValueError, JoseError):
        raise Misconfigured("The key of a login cannot be used.", hint="Log in again.") from None


def _require_loopback(redirect_uri: str) -> None:
    try:
        parts = urlsplit(redirect_uri)
        fine = parts.scheme == "http" and is_loopback(parts.hostname or "")
    except ValueError:
        fine = False
    if not fine or "#" in redirect_uri or "@" in redirect_uri:
        # RFC 8252 §7.3: what leaves the machine could be read by others on the way.
        raise Malformed("A login comes back to http on this machine (127.0.0.1) alone.")


__all__ = ["MAX_PENDING", "OFFLINE", "PENDING_S", "OAuthLogin"]
