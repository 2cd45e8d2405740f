"""The way of a person: asked for a code, signed in, asked whether he agrees, sent back.

    /oauth/authorize   a client sends a browser here (RFC 6749 §4.1.1)
    /oauth/login       the development login, or the way to the OpenID provider
    /oauth/callback    the way back from the provider
    /oauth/consent     the question, and the answer

Tickets stand for requests that are checked already, so nothing of a request is read twice. The
cookies are strict: no other site can make a browser show one here. A form counts only with the
ticket that the same signed-in browser was shown.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

import structlog

from midflight.apps.gateway.noise import Noise
from midflight.apps.oauth.forms import read_form
from midflight.apps.server.asgi import Receive, Scope, Send, header_values
from midflight.apps.server.cookies import read_cookies
from midflight.apps.server.peer import scope_peer
from midflight.domain.authorization import AuthorizationRefused, Person, Refusal
from midflight.domain.errors import Forbidden, MidflightError, Unauthenticated
from midflight.domain.value import Discreet
from midflight.services.authorization_codes import Asked, Codes, SentBack
from midflight.services.authorization_people import Held, People
from midflight.services.ports.clock import Clock
from midflight.wire.oauth import pages
from midflight.wire.oauth.documents import AUTHORIZE, described
from midflight.wire.oauth.form import decode_form
from midflight.wire.oauth.redirects import origin_of, shown_host, way_back

log = structlog.get_logger(__name__)

LOGIN, CALLBACK, CONSENT = "/oauth/login", "/oauth/callback", "/oauth/consent"
TICKET_S = 600

Header = tuple[bytes, bytes]


class _Waiting(Discreet):
    """A checked request, and the browser that may answer it (its cookie's digest; "" for any)."""

    shown = ()

    asked: Asked
    session: str = ""


class Pages:
    """See the module. Served only where people can sign in."""

    def __init__(
        self,
        *,
        codes: Codes,
        people: People,
        noise: Noise,
        clock: Clock,
        issuer: str,
        secure: bool,
    ) -> None:
        """`secure` is whether browsers come by https."""
        self._codes = codes
        self._people = people
        self._noise = noise
        self._issuer = issuer
        self._waiting: Held[_Waiting] = Held(clock=clock, seconds=TICKET_S)
        # Apart: requests of nobody, however many, forget no question of somebody who is logged in.
        self._shown: Held[_Waiting] = Held(clock=clock, seconds=TICKET_S)
        # `__Host-`: only this very host can have set it, and over https.
        prefix = "__Host-" if secure else ""
        self._session = f"{prefix}midflight-session"
        self._browser = f"{prefix}midflight-browser"
        self._attributes = "; Path=/; HttpOnly; SameSite=Strict" + ("; Secure" if secure else "")
        self._steps = {
            ("GET", AUTHORIZE): self._authorize,
            ("POST", AUTHORIZE): self._authorize,
            ("POST", LOGIN): self._login,
            ("GET", CALLBACK): self._callback,
            ("GET", CONSENT): self._ask,
            ("POST", CONSENT): self._answer,
        }

    def serves(self, path: str) -> bool:
        """Whether a path is one of these."""
        return self._people.possible and any(path == each for _, each in self._steps)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        peer = scope_peer(scope).address
        step = self._steps.get((scope["method"], scope["path"]))
        if step is None:
            await _page(send, pages.problem(title="Not here", text="That is not done so."), 405)
            return
        try:
            _check_site(scope)
            await step(await _parameters(scope, receive), read_cookies(scope), send)
        except SentBack as error:
            self._noise.refused(f"oauth {error.refusal.value}: {error.message}", peer=peer)
            parameters = described(error.refusal, error.message)
            await self._send_back(send, error.redirect_uri, parameters, error.state)
        except MidflightError as error:
            self._noise.refused(f"oauth page: {error.message}", peer=peer)
            status = error.status if isinstance(error, AuthorizationRefused) else error.http_status
            text = pages.problem(title="That did not work", text=str(error))
            await _page(send, text, status)
        except Exception as error:  # noqa: BLE001 -- a bug must refuse, and tell a stranger nothing
            log.warning("oauth_page_failed", error=type(error).__name__)
            text = pages.problem(title="That did not work", text="It went wrong inside.")
            await _page(send, text, 500)

    # The steps

    async def _authorize(
        self, form: Mapping[str, str], cookies: Mapping[str, str], send: Send
    ) -> None:
        asked = await self._codes.ask(form)
        person = self._people.of(cookies.get(self._session))
        if person is not None:
            await self._show(asked, person, cookies[self._session], send)
            return
        await self._show_login(self._waiting.put(_Waiting(asked=asked)), send)

    async def _login(self, form: Mapping[str, str], cookies: Mapping[str, str], send: Send) -> None:
        ticket = form.get("ticket", "")
        if self._waiting.get(ticket) is None:
            raise Forbidden("This request is over.", hint="Start again from your program.")
        back = f"{CONSENT}?{urlencode({'ticket': ticket})}"
        if not self._people.development:
            browser = cookies.get(self._browser) or secrets.token_urlsafe(32)
            where = await self._people.leave(back=back, browser=browser)
            await _redirect(send, where, [self._cookie(self._browser, browser)])
            return
        try:
            person = self._people.by_code(form.get("code", ""))
        except Unauthenticated as error:
            self._noise.refused(f"oauth login: {error.message}", peer="")
            await self._show_login(ticket, send, problem=str(error), status=401)
            return
        await self._signed_in(person, back, send)

    async def _callback(
        self, form: Mapping[str, str], cookies: Mapping[str, str], send: Send
    ) -> None:
        if self._browser not in cookies and "again" not in form:
            url = f"{CALLBACK}?{urlencode({**form, 'again': '1'})}"
            await _page(send, pages.again(url=url), 200)
            return
        if self._people.development:
            raise Forbidden("No provider is configured.")
        if "error" in form:
            raise Unauthenticated("The provider did not log you in.")
        person, back = await self._people.come_back(
            state=form.get("state", ""),
            code=form.get("code", ""),
            issuer=form.get("iss"),
            browser=cookies.get(self._browser),
        )
        await self._signed_in(person, back, send)

    async def _ask(self, form: Mapping[str, str], cookies: Mapping[str, str], send: Send) -> None:
        person, waiting = self._taken(self._waiting, form, cookies)
        await self._show(waiting.asked, person, cookies[self._session], send)

    async def _answer(
        self, form: Mapping[str, str], cookies: Mapping[str, str], send: Send
    ) -> None:
        person, waiting = self._taken(self._shown, form, cookies)
        asked = waiting.asked
        # What may be answered was shown to this very browser.
        if not hmac.compare_digest(waiting.session, _digest(cookies[self._session])):
            raise Forbidden("This question was shown to somebody else.")
        if form.get("decision") != "allow":
            raise SentBack(
                Refusal.ACCESS_DENIED,
                "The person refused.",
                redirect_uri=asked.redirect_uri,
                state=asked.state,
            )
        intent = form.get("intent", "").strip() or None
        try:
            code = await self._codes.agreed(asked, person, intent=intent)
        except Forbidden as error:
            raise SentBack(
                Refusal.ACCESS_DENIED,
                error.message,
                redirect_uri=asked.redirect_uri,
                state=asked.state,
            ) from None
        await self._send_back(send, asked.redirect_uri, {"code": code}, asked.state)

    # Inside

    def _taken(
        self, held: Held[_Waiting], form: Mapping[str, str], cookies: Mapping[str, str]
    ) -> tuple[Person, _Waiting]:
        person = self._people.of(cookies.get(self._session))
        if person is None:
            raise Unauthenticated("Nobody is logged in.", hint="Start again from your program.")
        waiting = held.take(form.get("ticket", ""))
        if waiting is None:
            raise Forbidden("This request is over.", hint="Start again from your program.")
        return person, waiting

    async def _show(self, asked: Asked, person: Person, session: str, send: Send) -> None:
        ticket = self._shown.put(_Waiting(asked=asked, session=_digest(session)))
        text = pages.consent(
            client=asked.client.name,
            client_id=asked.client.id,
            host=shown_host(asked.redirect_uri),
            workload=asked.client.workload,
            scopes=asked.scope,
            person=person.name,
            ticket=ticket,
            action=CONSENT,
        )
        await _page(send, text, 200, targets=[_target(asked.redirect_uri)])

    async def _show_login(
        self, ticket: str, send: Send, *, problem: str = "", status: int = 200
    ) -> None:
        provider = self._people.provider
        if provider is None:
            text = pages.login_code(ticket=ticket, action=LOGIN, problem=problem)
            await _page(send, text, status)
            return
        text = pages.login_provider(ticket=ticket, action=LOGIN, issuer=provider.issuer)
        await _page(send, text, status, targets=[_target(provider.issuer)])

    async def _signed_in(self, person: Person, back: str, send: Send) -> None:
        cookie = self._cookie(self._session, self._people.sign_in(person))
        await _redirect(send, back, [cookie])

    async def _send_back(
        self, send: Send, uri: str, parameters: Mapping[str, str], state: str | None
    ) -> None:
        told = {**parameters, "iss": self._issuer}  # RFC 9207 §2
        if state is not None:
            told["state"] = state
        await _redirect(send, way_back(uri, told))

    def _cookie(self, name: str, value: str) -> Header:
        return b"set-cookie", f"{name}={value}{self._attributes}".encode("ascii")


def _check_site(scope: Scope) -> None:
    """A form comes from a page of ours: what browsers say of it must not say otherwise."""
    if scope["method"] != "POST" or scope["path"] == AUTHORIZE:
        return
    for value in header_values(scope["headers"], b"sec-fetch-site"):
        if value not in {b"same-origin", b"none"}:
            raise Forbidden("This form was sent from another site.")


async def _parameters(scope: Scope, receive: Receive) -> dict[str, str]:
    query: bytes = scope["query_string"]
    if scope["method"] != "POST":
        return decode_form(query)
    if query:
        raise Forbidden("Parameters belong into the form.")
    return await read_form(scope, receive)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _target(uri: str) -> str:
    """What `form-action` must allow for a form that ends at this URI."""
    return origin_of(uri) or f"{uri.partition(':')[0]}:"


async def _page(send: Send, text: str, status: int, *, targets: Sequence[str] = ()) -> None:
    raw = text.encode("utf-8")
    headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-length", b"%d" % len(raw)),
        (b"content-security-policy", pages.policy(targets).encode("latin-1", "replace")),
        *_SAFE,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": raw})


async def _redirect(send: Send, where: str, more: Sequence[Header] = ()) -> None:
    headers = [
        (b"location", where.encode("ascii")),
        (b"content-length", b"0"),
        *_SAFE,
        *more,
    ]
    # 303: a form's body, and with it the ticket, does not travel on (OAuth 2.1 §7.5.3).
    await send({"type": "http.response.start", "status": 303, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


_SAFE: Sequence[Header] = (
    (b"cache-control", b"no-store"),
    (b"pragma", b"no-cache"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    # `no-referrer` would make browsers send `Origin: null` with our own forms.
    (b"referrer-policy", b"same-origin"),
)


__all__ = ["CALLBACK", "CONSENT", "LOGIN", "Pages"]
