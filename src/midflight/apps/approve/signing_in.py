"""Signing in and out: by passkey, by code, or at the organisation's OpenID provider.

Whoever fails learns no more than that. The name of an account counts as a claim, until a code of
that very account proves it.
"""

from __future__ import annotations

import secrets

from midflight.apps.approve import doors, html
from midflight.apps.approve.visit import HOME, Reply, Visit, go, way_back
from midflight.apps.server.cookies import OwnCookie
from midflight.domain.errors import Forbidden, MidflightError, Unauthenticated
from midflight.services.approver_factors import KNOWN_S, Factors
from midflight.services.approver_people import OutsideApprovers
from midflight.services.approver_sessions import ApproverSessions, SignedIn
from midflight.services.authorization_people import People
from midflight.wire.oauth.redirects import origin_of

CALLBACK = "/approve/callback"


class SigningIn:
    """See the module."""

    def __init__(
        self,
        *,
        factors: Factors,
        sessions: ApproverSessions,
        people: People,
        outside: OutsideApprovers,
        passkeys: bool,
        secure: bool,
    ) -> None:
        """`passkeys` says whether browsers can show any here; `people` may have a provider."""
        self._factors = factors
        self._sessions = sessions
        self._people = people
        self._outside = outside
        self._passkeys = passkeys
        self.session = OwnCookie("midflight-approver", secure=secure)
        self._browser = OwnCookie("midflight-approving", secure=secure)
        self._known = OwnCookie("midflight-known", secure=secure)

    @property
    def targets(self) -> tuple[str, ...]:
        """Where forms lead that log somebody in: browsers hold redirects against `form-action`."""
        provider = self._people.provider
        target = None if provider is None else origin_of(provider.issuer)
        return () if target is None else (target,)

    async def of(self, visit: Visit) -> SignedIn | None:
        """Who is signed in."""
        return await self._sessions.of(visit.cookies.get(self.session.name))

    async def door(self, visit: Visit, *, told: str = "", status: int = 401) -> Reply:
        """The page to sign in on."""
        issuer = None if self._people.provider is None else self._people.provider.issuer
        text = doors.sign_in(
            question=await self._factors.ask_passkey() if self._passkeys else None,
            back=way_back(visit),
            issuer=issuer,
            told=told,
        )
        return Reply(status=status, html=text, targets=self.targets)

    async def sign_in(self, visit: Visit) -> Reply:
        """Sign in by what the form shows. A session that was there before is over."""
        form = visit.form
        if form.get("response"):
            proved = await self._factors.by_passkey(form["response"], ticket=form.get("ticket", ""))
        else:
            proved = await self._factors.by_code(
                form.get("account", ""),
                form.get("code", ""),
                known=visit.cookies.get(self._known.name, ""),
            )
        self._drop(visit)
        cookie = self._sessions.begin(proved.approver, proved.proof)
        known = self._known.put(self._factors.known_browser(proved.approver), seconds=KNOWN_S)
        return go(way_back(visit), self.session.put(cookie), known)

    async def failed(self, visit: Visit, error: MidflightError) -> Reply:
        """The door again, with what went wrong."""
        told = f'<p class="warn" role="alert">{html.plain(str(error))}</p>'
        return await self.door(visit, told=told, status=error.http_status)

    async def sign_out(self, visit: Visit) -> Reply:
        """End the session."""
        person = await self.of(visit)
        if person is not None:
            visit.check(person.csrf)
            self._drop(visit)
        return go(HOME, self.session.drop())

    async def login(self, visit: Visit) -> Reply:
        """To the provider."""
        if self._people.provider is None:
            raise Forbidden("No provider is configured.")
        browser = visit.cookies.get(self._browser.name) or secrets.token_urlsafe(32)
        where = await self._people.leave(back=way_back(visit), browser=browser)
        return go(where, self._browser.put(browser))

    async def callback(self, visit: Visit) -> Reply:
        """Back from the provider."""
        form = visit.form
        if self._people.provider is None:
            raise Forbidden("No provider is configured.")
        if "error" in form:
            raise Unauthenticated("The provider did not log you in.")
        person, back = await self._people.come_back(
            state=form.get("state", ""),
            code=form.get("code", ""),
            issuer=form.get("iss"),
            browser=visit.cookies.get(self._browser.name),
        )
        cookie = await self._outside.sign_in(person)
        self._drop(visit)
        return go(back, self.session.put(cookie), self._browser.drop())

    def knows_browser(self, visit: Visit) -> bool:
        """Whether it shows the cookie of a browser that left for the provider."""
        return self._browser.name in visit.cookies

    def _drop(self, visit: Visit) -> None:
        old = visit.cookies.get(self.session.name)
        if old is not None:
            self._sessions.end(old)


__all__ = ["CALLBACK", "SigningIn"]
