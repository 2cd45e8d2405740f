"""The questions of a person who is signed in, and his answers.

An answer counts for the digest that stood in its form, and by a proof that is minutes old: who has
signed in longer ago proves it again with the answer, and a passkey then signs a challenge that was
made for this answer. Who answers is the session's, never the form's.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from midflight.apps.approve import doors, drawing, html
from midflight.apps.approve.visit import Reply, Visit, go
from midflight.apps.server.cookies import OwnCookie
from midflight.domain.approval import ApprovalState, people, register_of
from midflight.domain.errors import Malformed, MidflightError, Unauthenticated
from midflight.services.approval_desk import ApprovalDesk, ApprovalStatus
from midflight.services.approver_factors import Factors
from midflight.services.approver_sessions import ApproverSessions, SignedIn
from midflight.services.attempts import TooManyAttempts
from midflight.services.ports.approver_store import ApproverStore
from midflight.services.ports.clock import Clock


class Answering:
    """See the module."""

    def __init__(
        self,
        *,
        desk: ApprovalDesk,
        factors: Factors,
        sessions: ApproverSessions,
        store: ApproverStore,
        clock: Clock,
        cookie: OwnCookie,
        passkeys: bool,
        targets: Sequence[str] = (),
    ) -> None:
        """`passkeys` says whether browsers can show any here.

        `targets` is where the provider is at which people log in again.
        """
        self._desk = desk
        self._factors = factors
        self._sessions = sessions
        self._store = store
        self._clock = clock
        self._cookie = cookie
        self._passkeys = passkeys
        self._targets = targets

    async def home(self, person: SignedIn) -> Reply:
        """What waits for him."""
        found = await self._desk.waiting(person.author, member_of=person.groups)
        return Reply(html=drawing.waiting(found, person, now=self._clock.now()))

    async def show(
        self, approval: str, person: SignedIn, *, told: str = "", status: int = 200
    ) -> Reply:
        """One question. `NotFound` for those that are not his."""
        found = await self._desk.show(approval, to=person.author, member_of=person.groups)
        text = drawing.request(
            found,
            person,
            now=self._clock.now(),
            form=await self._form(found, person),
            told=told,
        )
        return Reply(status=status, html=text, targets=self._targets)

    async def answer(self, approval: str, person: SignedIn, visit: Visit) -> Reply:
        """Take an answer."""
        form = visit.form
        visit.check(person.csrf)
        decision, digest = form.get("decision", ""), form.get("digest", "")
        if decision not in {"yes", "no"} or not digest:
            raise Malformed("An answer is yes or no, to what was shown.")
        headers: tuple[tuple[bytes, bytes], ...] = ()
        if not self._sessions.is_fresh(person):
            try:
                proof = await self._prove(approval, digest, person, visit)
            except (Unauthenticated, TooManyAttempts) as error:
                told = f'<p class="warn" role="alert">{html.plain(str(error))}</p>'
                shown = await self.show(approval, person, told=told, status=error.http_status)
                return msgspec.structs.replace(shown, refused=error.message)
            cookie = visit.cookies[self._cookie.name]
            cookie, person = self._sessions.renew(cookie, person, proof)
            headers = (self._cookie.put(cookie),)
        try:
            await self._give(approval, digest, person, visit)
        except MidflightError as error:
            # A page of its own, so that the fresh cookie is not lost with the answer.
            return Reply(
                status=error.http_status,
                html=html.problem("That did not work", str(error)),
                headers=headers,
                refused=error.message,
            )
        return go(f"/approve/{approval}", *headers)

    # Inside

    async def _give(self, approval: str, digest: str, person: SignedIn, visit: Visit) -> None:
        """Tell the desk."""
        form = visit.form
        reason = " ".join(form.get("reason", "").split())
        if form["decision"] == "no":
            await self._desk.refuse(
                approval,
                author=person.author,
                member_of=person.groups,
                digest=digest,
                reason=reason,
            )
            return
        remember = form.get("remember", "0")
        if remember not in drawing.REMEMBER:
            raise Malformed("Nothing is remembered for that long.")
        await self._desk.approve(
            approval,
            author=person.author,
            member_of=person.groups,
            digest=digest,
            reason=reason,
            remember_s=int(remember),
        )

    async def _prove(self, approval: str, digest: str, person: SignedIn, visit: Visit) -> str:
        """By what he proved it again."""
        form = visit.form
        account = await self._store.get_approver(person.name) if person.account else None
        if account is None:
            raise Unauthenticated("Log in again before you answer.")
        if form.get("response"):
            proved = await self._factors.by_passkey(
                form["response"],
                ticket=form.get("ticket", ""),
                use=_use(approval, digest, person),
                of=account,
            )
        elif form.get("code"):
            proved = await self._factors.by_code(person.name, form["code"], browser=person.id)
        else:
            raise Unauthenticated("Show again that it is you, with the answer.")
        return proved.proof

    async def _form(self, found: ApprovalStatus, person: SignedIn) -> str:
        """What answers it; nothing where nothing can be answered any more, or by him."""
        if found.state is not ApprovalState.PENDING:
            return ""
        if any(answer.author == person.name for answer in found.answers):
            return "<p>You have answered. Others still have to.</p>"
        if self._sessions.is_fresh(person):
            return drawing.answer_form(found, person, proof=_alone(found, person), passkey="")
        account = await self._store.get_approver(person.name) if person.account else None
        if account is None or not person.proof.startswith(("passkey:", "totp:")):
            return (
                "<h2>Your answer</h2><p>You logged in some time ago. Log in again to answer.</p>"
                '<form method="post" action="/approve/login">'
                f"{html.hidden({'back': f'/approve/{found.id}'})}"
                "<button>Log in again</button></form>"
            )
        proof = "<p>You signed in some time ago, so show again that it is you.</p>"
        passkey = ""
        if self._passkeys and await self._store.list_passkeys(account.name):
            question = await self._factors.ask_passkey(
                account, use=_use(found.id, found.digest, person)
            )
            passkey = doors.asks_passkey(question)
            proof += html.hidden({"ticket": question.ticket})
            proof += '<input type="hidden" name="response" value="">'
            proof += "<noscript><p>Passkeys need JavaScript.</p></noscript>"
        if account.totp is not None:
            proof += doors.code_field(required=not passkey)
        return drawing.answer_form(found, person, proof=proof, passkey=passkey)


def _alone(found: ApprovalStatus, person: SignedIn) -> str:
    """What somebody whom no operator has mapped has to know, where others must agree, too."""
    register = register_of(person.name)
    if not register or len(people(found.approvers)) < 2:
        return ""
    return (
        f'<p class="warn">You are known by {html.plain(register)} alone, so your yes counts only '
        "beside those of others whom nobody but it knows. An operator can say who you are here: "
        "[approvals.login] people.</p>"
    )


def _use(approval: str, digest: str, person: SignedIn) -> str:
    """What a passkey's challenge is for: this answer, of this browser, to what was shown."""
    return f"answer:{approval}:{digest}:{person.id}"


__all__ = ["Answering"]
