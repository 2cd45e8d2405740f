"""An issuer with the shape of GitHub Actions: metadata, keys and tokens of jobs, over real TLS.

Claims are those of GitHub's documentation, `nbf` ten minutes before `iat`, every id a text. The
server answers jobs as the runner's URL does: a token for the audience that they ask for.
"""

from __future__ import annotations

import json
import ssl
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from identity_kit import by_hand
from outside_kit import RsaKey, jwks_of

BEARER = "runner-bearer"
WORKFLOW = "acme/app/.github/workflows/release.yml@refs/heads/main"


class GitHub:
    """The issuer, what jobs of it look like, and what it was asked."""

    def __init__(self, port: int) -> None:
        self.issuer = f"https://localhost:{port}"
        self.key = RsaKey()
        self.metadata: dict[str, Any] = {
            "issuer": self.issuer,
            "jwks_uri": f"{self.issuer}/.well-known/jwks",
            "subject_types_supported": ["public", "pairwise"],
            "response_types_supported": ["id_token"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid"],
        }
        self.changes: dict[str, Any] = {}
        self.asked: list[str] = []

    @property
    def environment(self) -> dict[str, str]:
        """What the runner gives a job with `id-token: write`."""
        return {
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{self.issuer}/token?api-version=2.0",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": BEARER,
        }

    def token(self, audience: str) -> str:
        """A token of a job of `acme/app`, changed by `changes`."""
        now = int(time.time())
        claims = {
            "jti": str(uuid.uuid4()),
            "sub": "repo:acme/app:ref:refs/heads/main",
            "aud": audience,
            "ref": "refs/heads/main",
            "sha": "d0f1" * 10,
            "repository": "acme/app",
            "repository_owner": "acme",
            "repository_owner_id": "65",
            "run_id": "30433642",
            "run_number": "12",
            "run_attempt": "1",
            "repository_visibility": "private",
            "repository_id": "74",
            "actor_id": "12",
            "actor": "octocat",
            "workflow": "release",
            "head_ref": "",
            "base_ref": "",
            "event_name": "push",
            "ref_protected": "true",
            "ref_type": "branch",
            "workflow_ref": WORKFLOW,
            "workflow_sha": "d0f1" * 10,
            "job_workflow_ref": WORKFLOW,
            "job_workflow_sha": "d0f1" * 10,
            "runner_environment": "github-hosted",
            "iss": self.issuer,
            "nbf": now - 600,
            "iat": now,
            "exp": now + 300,
            **self.changes,
        }
        header = {"typ": "JWT", "alg": "RS256", "x5t": "eBZ_cn3sXYAd0ch4THBKHIgOwOE"}
        return by_hand({**header, "kid": self.key.jkt}, claims, self.key)

    def answer(self, path: str, authorization: str) -> tuple[int, Any]:
        """(status, JSON) to one GET."""
        parts = urlsplit(path)
        self.asked.append(parts.path)
        match parts.path:
            case "/.well-known/openid-configuration":
                return 200, self.metadata
            case "/.well-known/jwks":
                return 200, jwks_of(self.key)
            case "/token" if authorization == f"Bearer {BEARER}":
                (audience,) = parse_qs(parts.query)["audience"]
                return 200, {"count": 1, "value": self.token(audience)}
            case _:
                return 404, {"message": "Not Found"}


@contextmanager
def github(certificate: Path, key: Path) -> Generator[GitHub]:
    """Serve one on loopback, with this certificate."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, value = issuer.answer(self.path, self.headers.get("authorization", ""))
            raw = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json; charset=utf-8")
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: Any) -> None:
            return

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """Handshakes that are broken off are what some tests are about."""

    listening = Server(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    # Handshakes happen in the threads of requests, so that one that hangs holds nobody up.
    listening.socket = context.wrap_socket(
        listening.socket, server_side=True, do_handshake_on_connect=False
    )
    issuer = GitHub(listening.server_address[1])
    thread = Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


__all__ = ["BEARER", "WORKFLOW", "GitHub", "github"]
