"""`midflight credential login`: a person's browser, and where it comes back to (RFC 8252 §7.3).

A listener on this machine takes one answer and passes it to the plane, which knows what belongs to
it. The code is in no process list and in no log. Verifier and state are not here at all.
"""

from __future__ import annotations

import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Annotated, Self
from urllib.parse import parse_qsl, urlsplit

import typer

from midflight.apps.cli.output import JsonFlag, note, print_fields, print_json
from midflight.apps.cli.session import Session, segment
from midflight.domain.errors import Unavailable

PATH = "/callback"
WAIT_S = 300
MAX_QUERY = 8_192
_PAGE = b"<!doctype html><title>Midflight</title><p>Done. Close this page and look at the terminal."


def login(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Its name: lower-case letters, digits and dashes.")],
    wait: Annotated[int, typer.Option(help="Seconds to wait for the browser.", min=1)] = WAIT_S,
    as_json: JsonFlag = False,
) -> None:
    """Log in at an upstream's authorization server, so that leases can act for you there.

    Open the URL that is shown in a browser on this machine.
    """
    client = Session.of(context).client()
    where = f"/v1/credentials/{segment(name)}/login"
    with Callback() as callback:
        begun = client.post(where, redirect_uri=callback.url)
        scopes = " ".join(begun["scopes"]) or "none"
        note(f"{begun['issuer']} will ask you to let Midflight act for you. Scopes: {scopes}.")
        note("Open this URL in a browser on this machine:")
        typer.echo(begun["url"], err=True)
        parameters = callback.wait(wait)
    done = client.post(f"{where}/{segment(begun['login'])}", parameters=parameters)
    if as_json:
        print_json(done)
        return
    print_fields(done | {"scopes": " ".join(done["scopes"]) or None})


class Callback:
    """Listens on an ephemeral port of loopback for one answer."""

    def __init__(self) -> None:
        self._answers: list[dict[str, str]] = []
        answers = self._answers

        class Handler(BaseHTTPRequestHandler):
            timeout = 5

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                pairs = parse_qsl(
                    parts.query[:MAX_QUERY], keep_blank_values=True, max_num_fields=20
                )
                # Twice the same parameter is no answer (RFC 6749 §3.1).
                if parts.path != PATH or len(dict(pairs)) != len(pairs) or not pairs:
                    self.send_error(404)
                    return
                answers.append(dict(pairs))
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Security-Policy", "default-src 'none'")
                self.send_header("Cache-Control", "no-store")
                self.send_header("Referrer-Policy", "no-referrer")
                self.end_headers()
                self.wfile.write(_PAGE)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- inherited
                """Say nothing: the path holds a code."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        """Where the browser is sent back to."""
        return f"http://127.0.0.1:{self._server.server_address[1]}{PATH}"

    def wait(self, seconds: float) -> dict[str, str]:
        """The parameters of the answer. `Unavailable` if none comes."""
        ends = time.monotonic() + seconds
        while not self._answers:
            self._server.timeout = ends - time.monotonic()
            if self._server.timeout <= 0:
                raise Unavailable(
                    "No browser came back in time.", hint="Run it again, and open the URL."
                )
            self._server.handle_request()
        return self._answers[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.server_close()


__all__ = ["Callback", "login"]
