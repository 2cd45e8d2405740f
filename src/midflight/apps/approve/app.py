"""The approval page as it is served. Raw ASGI, behind the gateway's checks of Host and Origin.

    /approve                      what waits for who is signed in
    /approve/apr_…                one question, and its answer
    /approve/sign-in, /sign-out   with a passkey or a code
    /approve/login, /callback     at the organisation's OpenID provider
    /approve/enroll…              giving an account a factor
    /approve/passkey.js           the one script

Every refusal is counted and recorded; what goes wrong inside is told to nobody.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import resources
from urllib.parse import urlencode

import structlog

from midflight.apps.approve import html
from midflight.apps.approve.answering import Answering
from midflight.apps.approve.enrolling import ENROLL, Enrolling
from midflight.apps.approve.signing_in import CALLBACK, SigningIn
from midflight.apps.approve.visit import HOME, Reply, Visit, question_of
from midflight.apps.gateway.noise import Noise
from midflight.apps.oauth.forms import read_form
from midflight.apps.server.asgi import Receive, Scope, Send, header_values
from midflight.apps.server.cookies import read_cookies
from midflight.apps.server.peer import scope_peer
from midflight.domain.errors import Forbidden, MidflightError, NotFound, Unauthenticated
from midflight.services.attempts import TooManyAttempts
from midflight.wire.oauth.form import decode_form

log = structlog.get_logger(__name__)

Step = Callable[[Visit], Awaitable[Reply]]

_SCRIPT = resources.files("midflight.apps.approve").joinpath("static/passkey.js").read_bytes()


class ApproveFront:
    """See the module."""

    def __init__(
        self,
        *,
        signing_in: SigningIn,
        enrolling: Enrolling,
        answering: Answering,
        noise: Noise,
        public_url: str,
    ) -> None:
        self._signing_in = signing_in
        self._answering = answering
        self._noise = noise
        self._script = public_url + html.SCRIPT
        self._steps: dict[tuple[str, str], Step] = {
            ("GET", HOME): self._home,
            ("POST", "/approve/sign-in"): self._sign_in,
            ("POST", "/approve/sign-out"): signing_in.sign_out,
            ("POST", "/approve/login"): signing_in.login,
            ("GET", CALLBACK): self._callback,
            ("GET", ENROLL): enrolling.show,
            ("POST", ENROLL): enrolling.redeem,
            ("POST", f"{ENROLL}/passkey"): enrolling.add_passkey,
            ("POST", f"{ENROLL}/code"): enrolling.add_code,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3, for a path below `/approve`."""
        if scope["path"] == html.SCRIPT and scope["method"] == "GET":
            await self._send(send, 200, b"text/javascript; charset=utf-8", _SCRIPT)
            return
        peer = scope_peer(scope).address
        try:
            reply = await self._reply(scope, receive, peer)
            if reply.refused:
                self._noise.refused(f"approve: {reply.refused}", peer=peer)
        except MidflightError as error:
            self._noise.refused(f"approve: {error.message}", peer=peer)
            text = html.problem("That did not work", str(error))
            reply = Reply(status=error.http_status, html=text)
        except Exception as error:  # noqa: BLE001 -- a bug must refuse, and tell a stranger nothing
            log.warning("approve_page_failed", error=type(error).__name__)
            text = html.problem("That did not work", "It went wrong inside.")
            reply = Reply(status=500, html=text)
        await self._answer(send, reply)

    # Inside

    async def _reply(self, scope: Scope, receive: Receive, peer: str) -> Reply:
        method, path = scope["method"], scope["path"]
        approval = question_of(path)
        step = self._steps.get((method, path))
        if step is None and (approval is None or method not in {"GET", "POST"}):
            if any(path == known for _, known in self._steps) or approval is not None:
                text = html.problem("Not here", "That is not done so.")
                return Reply(status=405, html=text)
            raise NotFound("There is no such page.")
        sites = header_values(scope["headers"], b"sec-fetch-site")
        foreign = any(value not in {b"same-origin", b"none"} for value in sites)
        if method == "POST" and foreign:
            raise Forbidden("This form was sent from another site.")
        visit = Visit(
            path=path,
            form=await _parameters(scope, receive),
            cookies=read_cookies(scope),
            peer=peer,
            is_foreign=foreign,
        )
        if step is not None:
            return await step(visit)
        assert approval is not None
        return await self._question(method, approval, visit)

    async def _home(self, visit: Visit) -> Reply:
        person = await self._signing_in.of(visit)
        if person is None:
            return await self._door(visit)
        return await self._answering.home(person)

    async def _question(self, method: str, approval: str, visit: Visit) -> Reply:
        person = await self._signing_in.of(visit)
        if person is None:
            return await self._door(visit)
        if method == "GET":
            return await self._answering.show(approval, person)
        return await self._answering.answer(approval, person, visit)

    async def _door(self, visit: Visit) -> Reply:
        # Strict cookies do not come with a link in a message: one step of our own brings them.
        if visit.is_foreign and "again" not in visit.form:
            return Reply(html=html.again(f"{visit.path}?again=1"))
        return await self._signing_in.door(visit)

    async def _sign_in(self, visit: Visit) -> Reply:
        try:
            return await self._signing_in.sign_in(visit)
        except (Unauthenticated, TooManyAttempts) as error:
            self._noise.refused(f"approve sign-in: {error.message}", peer=visit.peer)
            return await self._signing_in.failed(visit, error)

    async def _callback(self, visit: Visit) -> Reply:
        if not self._signing_in.knows_browser(visit) and "again" not in visit.form:
            url = f"{CALLBACK}?{urlencode({**visit.form, 'again': '1'})}"
            return Reply(html=html.again(url))
        return await self._signing_in.callback(visit)

    async def _answer(self, send: Send, reply: Reply) -> None:
        raw = reply.html.encode("utf-8", "replace")
        policy = html.policy(self._script, reply.targets).encode("latin-1", "replace")
        headers = [(b"content-security-policy", policy), *reply.headers]
        if reply.location:
            headers.append((b"location", reply.location.encode("ascii")))
        await self._send(send, reply.status, b"text/html; charset=utf-8", raw, *headers)

    @staticmethod
    async def _send(
        send: Send, status: int, kind: bytes, raw: bytes, *headers: tuple[bytes, bytes]
    ) -> None:
        told = [
            (b"content-type", kind),
            (b"content-length", b"%d" % len(raw)),
            *_SAFE,
            *headers,
        ]
        await send({"type": "http.response.start", "status": status, "headers": told})
        await send({"type": "http.response.body", "body": raw})


async def _parameters(scope: Scope, receive: Receive) -> dict[str, str]:
    query: bytes = scope["query_string"]
    if scope["method"] != "POST":
        return decode_form(query)
    if query:
        raise Forbidden("Parameters belong into the form.")
    return await read_form(scope, receive)


_SAFE: tuple[tuple[bytes, bytes], ...] = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (
        b"permissions-policy",
        b"publickey-credentials-get=(self), publickey-credentials-create=(self), camera=()",
    ),
    # `no-referrer` would make browsers send `Origin: null` with our own forms.
    (b"referrer-policy", b"same-origin"),
)


__all__ = ["ApproveFront"]
