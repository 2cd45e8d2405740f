"""Where a browser comes back to after a login: this machine alone, for one answer (RFC 8252 §7.3).

What it brings is not looked into here; the plane knows what belongs to a login. The code is in no
log. Above: `credential_login.py`, which alone imports it, when it is needed.
"""

from __future__ import annotations

import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Self
from urllib.parse import parse_qsl, urlsplit

from midflight.domain.errors import Unavailable

PATH = "/callback"
MAX_QUERY = 8_192
_PAGE = b"<!doctype html><title>Midflight</title><p>Done. Close this page and look at the terminal."


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


__all__ = ["PATH", "Callback"]
