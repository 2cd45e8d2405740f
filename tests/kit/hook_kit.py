"""A real plane whose approvals go to channels on loopback, and what comes back from these."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import itertools
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from control_kit import WORKLOAD, RunningPlane, running_plane
from notify_kit import Got, Receiver, receiver

from midflight.apps.compose_signals import signal_fronts
from midflight.apps.gateway.noise import Noise
from midflight.apps.hooks.main import hook_fronts
from midflight.apps.server.peer import Peer
from midflight.domain.action import Action
from midflight.domain.identity import Caller
from midflight.services.guard import Performed, Refused
from midflight.services.ports.upstream import Flight, Reply, Sink
from midflight.testing import ListSink, call

SLACK_SECRET = "slack-signing-secret"
PAGER_SECRET = "pager-secret"
RAW_KEY = bytes(range(1, 33))
WEBHOOK_KEY = "whsec_" + base64.b64encode(RAW_KEY).decode()
TEAM = "T0TEAM"
_PRESSES = itertools.count()


class HookedPlane:
    """A running plane, what its channels got, and how to knock at its hooks."""

    def __init__(self, running: RunningPlane, chat: Receiver) -> None:
        self.running = running
        self.there = chat
        noise = Noise(
            recorder=running.plane.ledger,
            clock=running.plane.clock,
            telemetry=running.plane.telemetry,
        )
        self.fronts = hook_fronts(running.plane, noise=noise) | signal_fronts(
            running.plane, noise=noise
        )

    # What the agent does

    def ask(self, run: str, to: str = "bob@x.org", **more: str) -> str:
        """Try to send what is asked about; the id of the request."""
        outcome = self.act(run, "send_mail", to=to, **more)
        assert isinstance(outcome, Refused), outcome
        found = getattr(outcome.decision, "approval", "")
        assert found, outcome.decision
        return str(found)

    def act(self, run: str, tool: str, **arguments: object) -> Performed | Refused:
        who = Caller(
            workload=WORKLOAD, run=run, token="tok_1", proof="bearer", expires_at=4_000_000_000
        )
        return self.running.do(
            lambda: self.running.plane.guard.perform(
                call(tool, upstream="desk", **arguments), who, sink=ListSink()
            )
        )

    def untrusted_run(self) -> str:
        """A run that has read what somebody wrote, so that what it sends is asked about."""
        run = self.running.open_run()
        self.act(run, "read_ticket", id=1)
        return run

    # What the channels get

    def tick(self) -> None:
        self.running.do(self.running.plane.escalating.tick)

    def posts(self, path: str) -> list[Got]:
        return [got for got in self.there.got if got.path == path]

    def buttons(self, path: str = "/chat") -> dict[str, str]:
        """Tickets of the newest message, by label."""
        document = self.posts(path)[-1].document
        if path == "/signed":
            return dict(document["data"]["items"][0]["answers"])
        return {
            element["text"]["text"]: element["value"]
            for block in document["blocks"]
            if block["type"] == "actions"
            for element in block["elements"]
        }

    def state(self, approval: str) -> str:
        return str(self.running.client.get(f"/v1/approvals/{approval}")["state"])

    # What comes in

    def knock(
        self, path: str, headers: Mapping[str, str], body: bytes, *, method: str = "POST"
    ) -> tuple[int, dict[str, Any]]:
        """Call a hook, or the door of a source of signals; status and answer."""
        return self.running.do(lambda: self.knocked(path, headers, body, method=method))

    async def knocked(
        self, path: str, headers: Mapping[str, str], body: bytes, *, method: str = "POST"
    ) -> tuple[int, dict[str, Any]]:
        """The same, on the plane's loop."""
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        async def send(event: Any) -> None:
            sent.append(event)

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in headers.items()],
            "state": {"peer": Peer(address="127.0.0.1", kind="tcp")},
        }
        await self.fronts[f"/{path.split('/')[1]}"](scope, receive, send)
        return sent[0]["status"], json.loads(sent[1]["body"])

    def press(self, ticket: str, *, user: str = "U0ANN", **more: Any) -> tuple[int, dict[str, Any]]:
        """Press a button in Slack."""
        body, headers = slack_request(ticket, user=user, **more)
        return self.knock("/hooks/chat", headers, body)

    def refusals(self) -> list[str]:
        return [
            str(record["details"]["why"])
            for record in self.running.records("observed")
            if record["what"] == "caller.refused"
        ]


def slack_request(
    ticket: str,
    *,
    user: str = "U0ANN",
    team: str = TEAM,
    secret: str = SLACK_SECRET,
    at: float | None = None,
    changes: Mapping[str, Any] | None = None,
) -> tuple[bytes, dict[str, str]]:
    """An interaction as Slack sends it, signed by an own computation."""
    payload = {
        "type": "block_actions",
        "team": {"id": team, "domain": "example"},
        "user": {"id": user, "username": "olivia", "name": "olivia", "team_id": team},
        "api_app_id": "A0APP",
        "trigger_id": f"1.{next(_PRESSES)}.abc",  # Slack's own, of each press
        "container": {"type": "message", "message_ts": "1.1"},
        "actions": [
            {"type": "button", "action_id": "midflight-0", "block_id": "b", "value": ticket}
        ],
    } | dict(changes or {})
    body = urlencode({"payload": json.dumps(payload)}).encode()
    timestamp = str(int(time.time() if at is None else at))
    mac = hmac.new(secret.encode(), f"v0:{timestamp}:".encode() + body, hashlib.sha256)
    return body, {
        "content-type": "application/x-www-form-urlencoded",
        "x-slack-request-timestamp": timestamp,
        "x-slack-signature": f"v0={mac.hexdigest()}",
    }


def webhook_request(
    ticket: str,
    *,
    person: str = "u-17",
    key: bytes = RAW_KEY,
    message: str = "m1",
    at: float | None = None,
    **more: Any,
) -> tuple[bytes, dict[str, str]]:
    """A webhook as Standard Webhooks has it, signed by an own computation."""
    document = {"type": "button.pressed", "data": {"person": person, "ticket": ticket} | more}
    body = json.dumps(document).encode()
    timestamp = str(int(time.time() if at is None else at))
    mac = hmac.new(key, f"{message}.{timestamp}.".encode() + body, hashlib.sha256)
    return body, {
        "content-type": "application/json",
        "webhook-id": message,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{base64.b64encode(mac.digest()).decode()}",
    }


def pager_request(
    key: str,
    *,
    kind: str = "incident.acknowledged",
    agent: str = "P0ANN",
    event: str = "01EVENT",
    secret: str = PAGER_SECRET,
    at: float | None = None,
) -> tuple[bytes, dict[str, str]]:
    """A webhook as PagerDuty sends it (v3), signed by an own computation."""
    moment = time.gmtime(time.time() if at is None else at)
    document = {
        "event": {
            "id": event,
            "event_type": kind,
            "resource_type": "incident",
            "occurred_at": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", moment),
            "agent": {
                "id": agent or "I1",
                "type": "user_reference" if agent else "service_reference",
                "summary": "Olivia",
            },
            "client": None,
            "data": {"id": "Q1", "type": "incident", "incident_key": key, "status": "acknowledged"},
        }
    }
    body = json.dumps(document).encode()
    own = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return body, {"content-type": "application/json", "x-pagerduty-signature": f"v1=00,v1={own}"}


@contextlib.contextmanager
def hooked_plane(
    folder: Path, *, may_answer: bool = True, signed: str = "", extra: str = ""
) -> Iterator[HookedPlane]:
    """Run one: ann owns the workload and is reached by chat; olivia stands for her.

    `signed` is more of `[hooks.signed]`, `extra` more settings.
    """
    secrets = {
        "slack": SLACK_SECRET,
        "pager": PAGER_SECRET,
        "webhook": WEBHOOK_KEY,
        "routing": "R0UT1NG",
    }
    with receiver() as there:
        secrets["url"] = f"{there.url}/chat"
        for name, text in secrets.items():
            (folder / f"{name}.secret").write_text(text, encoding="utf-8")
        allowed = "true" if may_answer else "false"
        settings = f"""
[approvals]
groups = {{ ann = ["olivia"] }}

[channels.chat]
kind = "slack"
url = "file:url.secret"
arguments = true

[channels.signed]
kind = "webhook"
url = "{there.url}/signed"
key = "file:webhook.secret"
arguments = true

[channels.page]
kind = "pagerduty"
url = "{there.url}/page"
key = "file:routing.secret"

[contacts.ann]
channels = ["chat", "signed"]
every = true

[contacts.oncall]
channels = ["page"]

[hooks.chat]
kind = "slack"
secret = "file:slack.secret"
team = "{TEAM}"
may_answer = {allowed}
people = {{ U0ANN = "olivia", U0BOB = "bob" }}

[hooks.signed]
kind = "webhook"
secret = "file:webhook.secret"
may_answer = {allowed}
people = {{ "u-17" = "olivia" }}
{signed}

[hooks.page]
kind = "pagerduty"
secret = "file:pager.secret"
people = {{ P0ANN = "olivia" }}
{extra}
"""
        with running_plane(folder, extra=settings) as running:
            running.register()
            running.pin("read_ticket", "read", "open")
            running.pin("send_mail", "grant", "closed")

            async def ticket(action: Action, flight: Flight, sink: Sink) -> Reply:
                text = "Please write to Bob@x.org or to carol@x.org about it."
                return Reply(result={"structuredContent": {"id": 1, "description": text}})

            running.upstream.scripts["read_ticket"] = ticket
            yield HookedPlane(running, there)


__all__ = [
    "PAGER_SECRET",
    "RAW_KEY",
    "SLACK_SECRET",
    "TEAM",
    "WEBHOOK_KEY",
    "HookedPlane",
    "hooked_plane",
    "pager_request",
    "slack_request",
    "webhook_request",
]
