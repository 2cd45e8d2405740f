"""Receivers of messages to people: a loopback HTTP server, and a real SMTP server (aiosmtpd)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from midflight.domain.notice import Severity
from midflight.domain.value import Value
from midflight.services.ports.notify import Button, Item, Message, NotDelivered, Telling

NOW = 1_800_000_000


class Got(Value):
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """An HTTP server that notes what it gets and answers what it is told, 200 by default."""

    def __init__(self) -> None:
        self.got: list[Got] = []
        self.statuses: list[int] = []
        self.more: dict[str, str] = {}
        self.url = ""
        self.came = threading.Condition()

    def wait(self, path: str) -> Got:
        """The first request to a path, once it is there."""
        with self.came:
            assert self.came.wait_for(lambda: any(g.path == path for g in self.got), timeout=30)
        return next(got for got in self.got if got.path == path)


@contextlib.contextmanager
def receiver(tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            with made.came:
                made.got.append(Got(path=self.path, headers=headers, body=body))
                made.came.notify_all()
            self.send_response(made.statuses.pop(0) if made.statuses else 200)
            for name, value in made.more.items():
                self.send_header(name, value)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- its name there
            del format, args

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            del request, client_address  # a client that does not trust us hangs up

    with Server(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        scheme, host = ("http", "127.0.0.1") if tls is None else ("https", "localhost")
        made.url = f"{scheme}://{host}:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()


class Postbox:
    """What an SMTP server took."""

    def __init__(self) -> None:
        self.mails: list[Envelope] = []
        self.logins: list[tuple[str, str]] = []
        self.port = 0
        self.refuses = ""

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 -- its name there
        if self.refuses:
            return self.refuses
        self.mails.append(envelope)
        return "250 OK"

    def authenticate(
        self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any
    ) -> Any:
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=data.password == b"correct horse", handled=False)


@contextlib.asynccontextmanager
async def postbox(
    tls: ssl.SSLContext | None = None, *, implicit: bool = False, login: bool = True
) -> AsyncIterator[Postbox]:
    box = Postbox()
    loop = asyncio.get_running_loop()

    def make() -> SMTP:
        return SMTP(
            box,
            hostname="mail.test",
            tls_context=None if implicit else tls,
            require_starttls=tls is not None and not implicit,
            auth_required=login and not implicit,
            auth_require_tls=not implicit,
            authenticator=box.authenticate,
            loop=loop,
        )

    server = await loop.create_server(make, "127.0.0.1", 0, ssl=tls if implicit else None)
    box.port = server.sockets[0].getsockname()[1]
    try:
        yield box
    finally:
        server.close()


class ListChannel:
    """A channel that keeps what it is told; fails as often as it is told to."""

    def __init__(self, name: str = "list", *, tracks: bool = True) -> None:
        self.name = name
        self.tracks = tracks
        self.told: list[Message] = []
        self.tries = 0
        self.fails: list[NotDelivered | None] = []

    async def tell(self, message: Message) -> None:
        self.tries += 1
        failure = self.fails.pop(0) if self.fails else None
        if failure is not None:
            raise failure
        self.told.append(message)

    @property
    def opened(self) -> list[Message]:
        return [each for each in self.told if each.telling is Telling.OPENED]


def message(**changes: Any) -> Message:
    """A message about one approval."""
    fields: dict[str, Any] = {
        "id": "msg_0123",
        "thread": "ntc_0123",
        "telling": Telling.OPENED,
        "contact": "olivia",
        "title": "An action waits for approval",
        "severity": Severity.WARNING,
        "at": NOW,
        "items": (item(),),
    }
    return Message(**(fields | changes))


def item(**changes: Any) -> Item:
    fields: dict[str, Any] = {
        "notice": "ntc_0123",
        "subject": "apr_0123",
        "title": "An action waits for approval",
        "facts": (("action", "mail/send"), ("to", "bob@x.org (untrusted)")),
        "buttons": (
            Button(label="Approve", ticket="mft1.approve.t"),
            Button(label="Refuse", ticket="mft1.refuse.t", is_danger=True),
        ),
    }
    return Item(**(fields | changes))


__all__ = [
    "NOW",
    "Got",
    "ListChannel",
    "Postbox",
    "Receiver",
    "item",
    "message",
    "postbox",
    "receiver",
]
