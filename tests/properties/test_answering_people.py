"""No answer on the page without a person who proved it, may answer, and was shown that very thing.

Random histories of people who sign in with right, wrong and used codes, answer from their own and
others' forms, at once and later, while operators change and disable accounts and time passes. A
model says for each answer whether it may count; the ledger says whether it did.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pyotp
from approval_kit import AskingPlane
from hypothesis import given, settings
from hypothesis import strategies as st

from midflight.adapters.login.passkeys import WebauthnPasskeys
from midflight.apps.approve.answering import Answering
from midflight.apps.approve.visit import Visit
from midflight.apps.server.cookies import OwnCookie
from midflight.domain.errors import MidflightError
from midflight.domain.records import ApprovalAnswered
from midflight.services.approver_accounts import ApproverAccounts
from midflight.services.approver_factors import Factors
from midflight.services.approver_sessions import FRESH_S, IDLE_S, ApproverSessions
from midflight.services.attempts import Attempts
from midflight.testing import OPERATOR

NAMES = ("ada", "bob", "eve")
GROUPS = {"ada": ["team-one"], "bob": ["security"], "eve": []}
COOKIE = OwnCookie("midflight-approver", secure=False)

who = st.sampled_from(NAMES)
codes = st.sampled_from(["right", "right", "wrong", "used", "none", "another's"])
answers = st.tuples(who, who, st.integers(0, 2), st.integers(0, 2), codes, st.booleans())
steps = st.lists(
    st.one_of(
        st.tuples(st.just("sign_in"), st.tuples(who, codes)),
        st.tuples(st.just("sign_in"), st.tuples(who, st.just("right"))),
        # Who answers with whose form; which question, and of which the digest; a code; yes or no.
        *[st.tuples(st.just("answer"), answers)] * 3,
        st.builds(lambda w, q, c, y: ("answer", (w, w, q, q, c, y)), who, st.integers(0, 2), codes,
                  st.booleans()),
        st.tuples(st.just("time"), st.sampled_from([1, 30, 30, 200, 301, 301, 901])),
        st.tuples(st.just("groups"), st.tuples(who, st.sampled_from([[], ["team-one"]]))),
        st.tuples(st.just("disable"), st.tuples(who, st.booleans())),
        st.tuples(st.just("ask"), st.integers(0, 3)),
    ),
    min_size=4,
    max_size=25,
)  # fmt: skip


class History:
    """Plays steps over a plane in memory, and keeps the model beside it."""

    def __init__(self) -> None:
        self.plane = AskingPlane()
        plane = self.plane
        self.sessions = ApproverSessions(store=plane.store, clock=plane.clock)
        self.accounts = ApproverAccounts(
            store=plane.store, recorder=plane.ledger, clock=plane.clock
        )
        self.factors = Factors(
            store=plane.store,
            sealer=plane.sealer,
            recorder=plane.ledger,
            clock=plane.clock,
            passkeys=WebauthnPasskeys(host="localhost", origin="http://localhost"),
            attempts=Attempts(clock=plane.clock),
            issuer="test",
        )
        self.page = Answering(
            desk=plane.desk,
            factors=self.factors,
            sessions=self.sessions,
            store=plane.store,
            clock=plane.clock,
            cookie=COOKIE,
            passkeys=False,
        )
        self.run = ""
        self.secrets: dict[str, pyotp.TOTP] = {}
        self.cookies: dict[str, str] = {}
        # The model: who is signed in since when, by a proof how old; what is spent, and refused.
        self.live: dict[str, tuple[float, float]] = {}
        self.spent: dict[str, int] = {}
        self.groups = {name: list(groups) for name, groups in GROUPS.items()}
        self.disabled = dict.fromkeys(NAMES, False)
        self.expected: list[tuple[str, str, bool]] = []

    async def play(self, history: list[tuple[str, Any]]) -> None:
        self.plane.asking.approvers = ("owner", "security")
        self.run = await self.plane.begin()
        for name in NAMES:
            await self.accounts.add(name, OPERATOR, groups=GROUPS[name])
            approver = await self.plane.store.get_approver(name)
            assert approver is not None
            made = self.factors.new_secret(approver)
            self.secrets[name] = pyotp.TOTP(made.secret)
            code = self.secrets[name].at(int(self.plane.clock.now()))
            await self.factors.add_secret(approver, code, ticket=made.ticket, proof="test")
            self.spent[name] = self.step()
        # Everybody has signed in, and questions wait: what follows is about answering.
        self.plane.clock.advance(30)
        for number, name in enumerate(NAMES):
            await self._ask(number)
            await self._sign_in((name, "right"))
        for kind, what in history:
            await getattr(self, f"_{kind}")(what)

    def step(self) -> int:
        return int(self.plane.clock.now()) // 30

    def code(self, name: str, kind: str) -> tuple[str, bool]:
        """A code, and whether it may count."""
        now = int(self.plane.clock.now())
        match kind:
            case "right":
                return self.secrets[name].at(now), self.spent[name] < self.step()
            case "used":
                return self.secrets[name].generate_otp(self.spent[name]), False
            case "another's":
                other = "bob" if name == "ada" else "ada"
                code = self.secrets[other].at(now)
                return code, False
            case "wrong":
                right = int(self.secrets[name].at(now))
                return f"{(right + 500_000) % 1_000_000:06d}", False
            case _:
                return "", False

    async def _sign_in(self, what: tuple[str, str]) -> None:
        name, kind = what
        code, may = self.code(name, kind)
        try:
            proved = await self.factors.by_code(name, code)
        except MidflightError:
            return
        assert may, (name, kind)
        assert not self.disabled[name]
        self.spent[name] = self.step()
        self.cookies[name] = self.sessions.begin(proved.approver, proved.proof)
        now = self.plane.clock.monotonic()
        self.live[name] = (now, now)

    async def _answer(self, what: tuple[str, str, int, int, str, bool]) -> None:
        name, form_of, question, shown, kind, yes = what
        requests = await self.plane.store.list_approvals()
        request = requests[question % len(requests)]
        digest = requests[shown % len(requests)].digest
        person = await self.sessions.of(self.cookies.get(name))
        other = await self.sessions.of(self.cookies.get(form_of))
        now = self.plane.clock.monotonic()
        is_live = name in self.live and now < self.live[name][0] + IDLE_S
        assert (person is not None) == is_live
        if person is None:
            return
        self.live[name] = (now, self.live[name][1])
        if other is not None:
            self.live[form_of] = (now, self.live[form_of][1])
        code, may = self.code(name, kind)
        is_fresh = now - self.live[name][1] <= FRESH_S
        form = {
            "csrf": "" if other is None else other.csrf,
            "digest": digest,
            "decision": "yes" if yes else "no",
            "code": code,
        }
        cookies = {COOKIE.name: self.cookies[name]}
        visit = Visit(path="", form=form, cookies=cookies, peer="", is_foreign=False)
        before = len(await self._answered())
        try:
            reply = await self.page.answer(request.id, person, visit)
        except MidflightError:
            reply = None
        if reply is not None:
            self._renewed(name, reply.headers)
        counted = (await self._answered())[before:]
        if not counted:
            return
        (record,) = counted
        entitled = set(self.groups[name]) & {"team-one", "security"}
        assert record.author == name == person.name
        assert form_of == name
        assert digest == request.digest == record.digest
        assert is_fresh or may, (name, kind)
        assert not self.disabled[name]
        assert entitled
        assert self.plane.clock.now() < request.expires_at
        assert all(answer.author != name for answer in request.answers)
        assert record.yes == yes

    def _renewed(self, name: str, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        for _, value in headers:
            self.cookies[name] = value.decode().split("=", 1)[1].split(";")[0]
            self.spent[name] = self.step()
            now = self.plane.clock.monotonic()
            self.live[name] = (now, now)

    async def _answered(self) -> list[ApprovalAnswered]:
        return [r for r in await self.plane.records() if isinstance(r, ApprovalAnswered)]

    async def _time(self, what: int) -> None:
        self.plane.clock.advance(what)

    async def _groups(self, what: tuple[str, list[str]]) -> None:
        await self.accounts.change(what[0], OPERATOR, groups=what[1])
        self.groups[what[0]] = what[1]
        self.live.pop(what[0], None)

    async def _disable(self, what: tuple[str, bool]) -> None:
        await self.accounts.change(what[0], OPERATOR, disabled=what[1])
        self.disabled[what[0]] = what[1]
        self.live.pop(what[0], None)

    async def _ask(self, number: int) -> None:
        await self.plane.act(self.run, to=f"u{number}@x.org")


@given(steps)
@settings(max_examples=150)
def test_only_who_proved_it_and_was_shown_it_answers(history: list[tuple[str, Any]]) -> None:
    async def run() -> None:
        played = History()
        await played.play(history)
        sent = [a for a in played.plane.upstream.received if a.name == "send"]
        stored = await played.plane.store.list_approvals()
        assert len(sent) == len([r for r in stored if r.state.value == "used"])
        for request in stored:
            authors = [answer.author for answer in request.answers]
            assert len(set(authors)) == len(authors)
        await played.plane.close()

    asyncio.run(run())


def test_the_history_can_say_yes() -> None:
    """The model is not one in which nothing ever counts."""

    async def run() -> None:
        played = History()
        await played.play(
            [
                ("answer", ("ada", "ada", 0, 0, "none", True)),
                ("time", 301),
                ("answer", ("bob", "bob", 0, 0, "right", True)),
            ]
        )
        states = [r.state.value for r in await played.plane.store.list_approvals()]
        assert states == ["approved", "pending", "pending"]
        await played.plane.close()

    asyncio.run(run())
