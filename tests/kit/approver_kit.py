"""A gateway with its approval page, people in browsers before it, and what they hold in hand.

Everything is real but the tool server: settings, SQLite, Cedar, HTTP. Time can be moved on. A
browser is an HTTP client that keeps cookies as browsers do; forms are read out of the pages.
"""

from __future__ import annotations

import contextlib
import html
import json
import re
import subprocess
from collections.abc import AsyncIterator, Generator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from unittest import mock

import httpx2
import pyotp
from counterpart_kit import ROOT, free_port, stop
from store_kit import with_schema

from gateways import AGENT
from midflight.adapters.clock import SystemClock
from midflight.apps import compose_parts
from midflight.apps.compose import Plane
from midflight.apps.gateway.main import serving_plane
from midflight.apps.settings import Settings
from midflight.domain.identity import Author, Caller, Workload
from midflight.domain.tool import PinnedKind
from midflight.domain.traits import Effect, Reach, Traits
from midflight.services.guard import Performed, Refused
from midflight.testing import ListSink, ScriptedUpstream, call

PASSKEYS = ROOT / ".tools" / "passkeys" / "bin" / "python"
OPERATOR = Author(name="olivia", proof="test")
POLICY = """
@id("permit-all")
permit (principal, action, resource);

@id("ask")
@reason("A person looks first.")
@approvers("APPROVERS")
@expires("10m")
forbid (principal, action in Action::"call_tool", resource)
when { resource.effect == "send" }
unless { context.approval.granted };
"""
TOOLS = [{"name": name, "inputSchema": {"type": "object"}} for name in ("send", "look")]


class LeapingClock(SystemClock):
    """The system's clock, which tests move on; `behind` sets the wall's back alone."""

    ahead = 0.0
    behind = 0.0

    def now(self) -> float:
        return super().now() + self.ahead - self.behind

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead

    def leap(self, seconds: float) -> None:
        self.ahead += seconds


class Form(HTMLParser):
    """Every form of a page: where it goes, its fields, and what it asks a passkey."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: list[dict[str, Any]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        if tag == "form":
            self.forms.append({"action": told["action"], "fields": {}, **told})
        elif tag == "input" and self.forms and told.get("name"):
            self.forms[-1]["fields"][told["name"]] = told.get("value") or ""

    def to(self, action: str, *, passkey: bool = False) -> dict[str, Any]:
        """The form that goes there."""
        return next(
            form
            for form in self.forms
            if form["action"] == action and (not passkey or "data-passkey" in form)
        )


class Browser:
    """A person's browser."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self.http = http

    async def get(self, path: str, **more: Any) -> httpx2.Response:
        return await self.http.get(path, **more)

    async def post(self, path: str, **fields: str) -> httpx2.Response:
        return await self.http.post(path, data=fields, headers={"sec-fetch-site": "same-origin"})

    async def sign_in(self, account: str, code: str, *, back: str = "") -> httpx2.Response:
        """With a one-time code."""
        more = {"back": back} if back else {}
        return await self.post("/approve/sign-in", account=account, code=code, **more)

    async def answer(self, approval: str, decision: str = "yes", **more: str) -> httpx2.Response:
        """As the form of the page has it, but for what is given."""
        page = await self.get(f"/approve/{approval}")
        assert page.status_code == 200, page.text
        form = Form(page.text).to(f"/approve/{approval}")
        return await self.post(
            f"/approve/{approval}", **{**form["fields"], "decision": decision, **more}
        )

    @property
    def cookie(self) -> str:
        """The value of the session's cookie."""
        return next(c.value or "" for c in self.http.cookies.jar if "approver" in c.name)


class Person:
    """An approver with codes: his account, the secret in his authenticator, his browser."""

    def __init__(self, name: str, secret: str, browser: Browser, clock: LeapingClock) -> None:
        self.name = name
        self.browser = browser
        self._totp = pyotp.TOTP(secret)
        self._clock = clock

    def code(self, *, offset: int = 0) -> str:
        return self._totp.at(int(self._clock.now()), counter_offset=offset)

    def next_code(self) -> str:
        """A code that was not used: time moves on to the next step."""
        self._clock.leap(30)
        return self.code()

    async def sign_in(self) -> None:
        done = await self.browser.sign_in(self.name, self.next_code())
        assert done.status_code == 303, done.text


class Approving:
    """A running gateway and who stands before it."""

    def __init__(self, plane: Plane, url: str, clock: LeapingClock) -> None:
        self.plane = plane
        self.url = url
        self.clock = clock
        self.desk = plane.approval_desk
        self.accounts = plane.approvers.accounts
        self._open: list[httpx2.AsyncClient] = []

    async def prepare(self) -> None:
        await self.plane.inventory.register(
            Workload(
                id=AGENT,
                owner="team-one",
                escalation="oncall",
                review_by=int(self.clock.now()) + 86_400,
            ),
            OPERATOR,
        )
        await self.plane.catalogue.refresh("desk")
        for tool, effect in (("send", Effect.SEND), ("look", Effect.READ)):
            await self.plane.catalogue.pin(
                "desk",
                tool,
                kind=PinnedKind.TOOL,
                author=OPERATOR,
                traits=Traits(effect=effect, reach=Reach.CLOSED, reviewed=True),
            )

    @property
    def sent(self) -> list[dict[str, Any]]:
        """What reached the tool server."""
        upstream = self.plane.parts.upstreams["desk"]
        assert isinstance(upstream, ScriptedUpstream)
        return [action.arguments for action in upstream.received if action.name == "send"]

    def browser(self) -> Browser:
        http = httpx2.AsyncClient(base_url=self.url, timeout=30, trust_env=False, verify=False)
        self._open.append(http)
        return Browser(http)

    async def person(
        self, name: str, *groups: str, browser: Browser | None = None, signed_in: bool = True
    ) -> Person:
        """An account, enrolled by its person through the page, and signed in."""
        await self.accounts.add(name, OPERATOR, groups=groups)
        browser = browser or self.browser()
        page = await self.enrolling(name, browser)
        form = Form(page.text).to("/approve/enroll/code")
        secret = re.findall(r"<code>([A-Z2-7]{32})</code>", page.text)[0]
        person = Person(name, secret, browser, self.clock)
        done = await browser.post(form["action"], **{**form["fields"], "code": person.code()})
        assert "The codes are enrolled." in done.text, done.text
        if signed_in:
            await person.sign_in()
        return person

    async def enrolling(self, name: str, browser: Browser) -> httpx2.Response:
        """The page on which factors are enrolled, reached with a code of an operator."""
        invitation = await self.accounts.enroll(name, OPERATOR)
        answer = await browser.post("/approve/enroll", invitation=invitation.code)
        assert (answer.status_code, answer.headers["location"]) == (303, "/approve/enroll")
        return await browser.get("/approve/enroll")

    async def run(self) -> str:
        workload = await self.plane.inventory.get(AGENT)
        opened = await self.plane.runs.open_run(
            workload=workload, intent="Answer the mail.", author=OPERATOR
        )
        return opened.id

    async def act(self, run: str, /, tool: str = "send", **arguments: Any) -> Performed | Refused:
        who = Caller(
            workload=AGENT, run=run, token="tok_1", proof="bearer", expires_at=4_000_000_000
        )
        return await self.plane.guard.perform(
            call(tool, upstream="desk", **arguments), who, sink=ListSink()
        )

    async def ask(self, run: str | None = None, /, **arguments: Any) -> str:
        """An action that people are asked about; the id of the question."""
        outcome = await self.act(run or await self.run(), **(arguments or {"to": "bob@x.org"}))
        assert isinstance(outcome, Refused), outcome
        found = getattr(outcome.decision, "approval", "")
        assert found, outcome.decision
        return str(found)

    async def records(self, kind: type[Any]) -> list[Any]:
        await self.plane.ledger.flush()
        tail = await self.plane.ledger.tail(1_000)
        return [found.record for found in tail if isinstance(found.record, kind)]

    async def close(self) -> None:
        for http in self._open:
            await http.aclose()


@contextlib.asynccontextmanager
async def approving(
    folder: Path,
    *,
    approvers: str = "owner",
    tls: tuple[Path, Path] | None = None,
    host: str = "localhost",
    **more: Any,
) -> AsyncIterator[Approving]:
    """A gateway at its public URL, whose policy asks `approvers` about every send."""
    directory = folder / "policies"
    directory.mkdir(exist_ok=True)
    (directory / "test.cedar").write_text(POLICY.replace("APPROVERS", approvers))
    port = more.pop("port", None) or free_port()
    url = f"{'https' if tls else 'http'}://{host}:{port}"
    gateway: dict[str, Any] = {"listen": f"127.0.0.1:{port}", "public_url": url}
    if tls is not None:
        gateway["tls"] = {"certificate": tls[0], "key": tls[1]}
    settings = Settings(
        **{
            "gateway": gateway,
            "state": {"directory": with_schema(folder / "state")},
            "policy": {"directory": directory},
            **more,
        }
    )
    with mock.patch.object(compose_parts, "SystemClock", LeapingClock):
        made = compose_parts.parts(settings)
    made.upstreams = {"desk": ScriptedUpstream("desk", [dict(tool) for tool in TOOLS])}
    made.reaches = {"desk": Reach.CLOSED}
    clock = made.clock
    assert isinstance(clock, LeapingClock)
    plane = Plane(settings, made)
    async with plane.running(), serving_plane(plane):
        served = Approving(plane, url, clock)
        await served.prepare()
        try:
            yield served
        finally:
            await served.close()


class Device:
    """A passkey in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], origin: str) -> None:
        self._process = process
        self.origin = origin

    def ask(self, form: dict[str, Any], **more: Any) -> str:
        """What it says to a form of a page, as the script of the page would send it."""
        return self.say(form["data-passkey"], json.loads(form["data-options"]), **more)

    def say(self, verb: str, options: dict[str, Any], **more: Any) -> str:
        asked = {"do": verb, "options": options, "origin": self.origin, **more}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the device has ended"
        return answer.strip()


@contextlib.contextmanager
def device(origin: str) -> Generator[Device]:
    """One passkey, at pages of an origin."""
    assert PASSKEYS.is_file(), f"{PASSKEYS} is missing: run `make sync`."
    process = subprocess.Popen(
        [PASSKEYS, "-I", Path(__file__).with_name("passkey_device.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={},
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Device(process, origin)
    finally:
        process.stdin.close()
        process.stdout.close()
        stop(process)


async def with_passkey(
    served: Approving, name: str, one: Device, *groups: str, browser: Browser | None = None
) -> Browser:
    """An account whose person has enrolled a passkey; his browser, not signed in."""
    await served.accounts.add(name, OPERATOR, groups=groups)
    browser = browser or served.browser()
    page = await served.enrolling(name, browser)
    form = Form(page.text).to("/approve/enroll/passkey")
    done = await browser.post(form["action"], **{**form["fields"], "response": one.ask(form)})
    assert "The passkey is enrolled." in done.text, done.text
    return browser


async def show_passkey(
    browser: Browser, one: Device, *, back: str = "", **more: Any
) -> httpx2.Response:
    """Sign in with it."""
    page = await browser.get(back or "/approve")
    form = Form(page.text).to("/approve/sign-in", passkey=True)
    return await browser.post(
        form["action"], **{**form["fields"], "response": one.ask(form, **more)}
    )


def shown(text: str) -> str:
    """A page as a person reads it, roughly: without tags."""
    return html.unescape(re.sub(r"<[^>]+>", " ", text))


__all__ = [
    "OPERATOR",
    "Approving",
    "Browser",
    "Device",
    "Form",
    "LeapingClock",
    "Person",
    "approving",
    "device",
    "show_passkey",
    "shown",
    "with_passkey",
]
