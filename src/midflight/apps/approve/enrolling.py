"""Giving an account a factor: first the code of an operator, then a passkey or one-time codes.

The cookie that stands for the code is good for ten minutes and for this alone: with it nobody
answers anything.
"""

from __future__ import annotations

import secrets

from midflight.apps.approve import doors, html
from midflight.apps.approve.visit import Reply, Visit, go
from midflight.apps.server.cookies import OwnCookie
from midflight.domain.approver import Approver
from midflight.domain.errors import Forbidden, Unauthenticated
from midflight.domain.value import Discreet
from midflight.services.approver_accounts import ENROL_S, ApproverAccounts
from midflight.services.approver_factors import Factors
from midflight.services.authorization_people import Held
from midflight.services.ports.approver_store import ApproverStore
from midflight.services.ports.clock import Clock

ENROLL = "/approve/enroll"
PROOF = "enrolment"


class _Enrolling(Discreet):
    shown = ()

    name: str
    epoch: int
    csrf: str


class Enrolling:
    """See the module."""

    def __init__(
        self,
        *,
        accounts: ApproverAccounts,
        factors: Factors,
        store: ApproverStore,
        clock: Clock,
        secure: bool,
    ) -> None:
        self._accounts = accounts
        self._factors = factors
        self._store = store
        self._held: Held[_Enrolling] = Held(clock=clock, seconds=ENROL_S)
        self._cookie = OwnCookie("midflight-enrolling", secure=secure)

    async def show(self, visit: Visit) -> Reply:
        """Where the code is typed; or, with one that was, what can be enrolled."""
        if visit.cookies.get(self._cookie.name) is None:
            return Reply(html=doors.enroll())
        try:
            approver, held = await self._of(visit)
        except Forbidden:
            return Reply(html=doors.enroll(), headers=(self._cookie.drop(),))
        return await self._factors_page(approver, held, visit)

    async def redeem(self, visit: Visit) -> Reply:
        """Take a code."""
        approver = await self._accounts.redeem(visit.form.get("invitation", ""))
        held = _Enrolling(name=approver.name, epoch=approver.epoch, csrf=secrets.token_urlsafe(32))
        return go(ENROLL, self._cookie.put(self._held.put(held)))

    async def add_passkey(self, visit: Visit) -> Reply:
        """Take a passkey."""
        approver, held = await self._of(visit)
        visit.check(held.csrf)
        await self._factors.add_passkey(
            approver,
            visit.form.get("response", ""),
            ticket=visit.form.get("ticket", ""),
            use=_use(held),
            proof=PROOF,
        )
        return await self._done(approver, held, visit, "The passkey is enrolled.")

    async def add_code(self, visit: Visit) -> Reply:
        """Take a secret of codes."""
        approver, held = await self._of(visit)
        visit.check(held.csrf)
        ticket = visit.form.get("ticket", "")
        try:
            await self._factors.add_secret(
                approver, visit.form.get("code", ""), ticket=ticket, proof=PROOF
            )
        except Unauthenticated as error:
            told = f'<p class="warn" role="alert">{html.plain(str(error))}</p>'
            return await self._factors_page(
                approver, held, visit, told=told, ticket=ticket, status=401
            )
        return await self._done(approver, held, visit, "The codes are enrolled.")

    # Inside

    async def _of(self, visit: Visit) -> tuple[Approver, _Enrolling]:
        held = self._held.get(visit.cookies.get(self._cookie.name, ""))
        approver = None if held is None else await self._store.get_approver(held.name)
        if held is None or approver is None or approver.disabled or approver.epoch != held.epoch:
            raise Forbidden("This enrolment is over.", hint="Ask an operator for another code.")
        return approver, held

    async def _done(self, approver: Approver, held: _Enrolling, visit: Visit, told: str) -> Reply:
        text = f'<p role="status"><strong>{html.plain(told)}</strong> '
        text += 'You can enrol another one, or <a href="/approve">sign in</a>.</p>'
        return await self._factors_page(approver, held, visit, told=text)

    async def _factors_page(
        self,
        approver: Approver,
        held: _Enrolling,
        visit: Visit,
        *,
        told: str = "",
        ticket: str = "",
        status: int = 200,
    ) -> Reply:
        del visit
        secret = (
            self._factors.shown_secret(approver, ticket)
            if ticket
            else self._factors.new_secret(approver)
        )
        text = doors.factors(
            approver,
            csrf=held.csrf,
            passkey=await self._factors.ask_new_passkey(approver, use=_use(held)),
            secret=secret,
            told=told,
        )
        return Reply(status=status, html=text)


def _use(held: _Enrolling) -> str:
    return f"enroll:{held.csrf}"


__all__ = ["ENROLL", "PROOF", "Enrolling"]
