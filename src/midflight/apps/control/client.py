"""What the command line calls: the control API over its Unix socket, one request a connection.

Synchronous and on the standard library alone, so that `midflight revoke` starts at once.
"""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

from midflight.domain import errors
from midflight.domain.errors import Forbidden, MidflightError, Misconfigured, Unavailable

TIMEOUT_S = 60.0
MAX_ANSWER_BYTES = 256 * 1024 * 1024

_START_HINT = "Start it with `midflight up`, or name its settings with --config."
_ERRORS: dict[str, type[MidflightError]] = {
    kind.code: kind
    for name in errors.__all__
    if issubclass(kind := getattr(errors, name), MidflightError)
    # These take more than a message; a client has no use for the difference.
    and kind not in (errors.Interrupted, Misconfigured)
}


class _UnixConnection(http.client.HTTPConnection):
    """HTTP/1.1 over a Unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        # The host is what Host headers say; nothing is resolved.
        super().__init__("midflight", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class ControlClient:
    """Calls the plane that listens on a socket."""

    def __init__(self, path: Path, *, timeout_s: float = TIMEOUT_S) -> None:
        self._path = path
        self._timeout_s = timeout_s

    @property
    def path(self) -> Path:
        """The control socket."""
        return self._path

    def get(self, path: str, **query: str | int | bool | None) -> Any:
        """The answer of a GET; arguments that are None are left out.

        Raises:
            MidflightError: as the plane said, or `Unavailable` if there is none.
        """
        given = {
            name: str(value).lower() if isinstance(value, bool) else str(value)
            for name, value in query.items()
            if value is not None
        }
        return self._call("GET", f"{path}?{urlencode(given)}" if given else path, None)

    def post(self, path: str, **body: Any) -> Any:
        """The answer of a POST; arguments that are None are left out.

        Raises:
            MidflightError: as the plane said, or `Unavailable` if there is none.
        """
        given = {name: value for name, value in body.items() if value is not None}
        return self._call("POST", path, json.dumps(given).encode())

    def _call(self, method: str, target: str, body: bytes | None) -> Any:
        headers = {} if body is None else {"content-type": "application/json"}
        connection = _UnixConnection(self._path, self._timeout_s)
        try:
            connection.request(method, target, body=body, headers=headers)
            response = connection.getresponse()
            raw = response.read(MAX_ANSWER_BYTES + 1)
            # `read` of a size takes a connection that breaks off for the end of the answer.
            if response.length and len(raw) <= MAX_ANSWER_BYTES:
                raise http.client.IncompleteRead(raw, response.length)
        except (FileNotFoundError, ConnectionRefusedError):
            raise Unavailable(
                f"Midflight is not running here (nothing listens on {self._path}).",
                hint=_START_HINT,
            ) from None
        except PermissionError:
            raise Forbidden(
                f"This user may not open {self._path}.",
                hint="Only the user who runs Midflight may; ask that operator.",
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(
                f"The plane on {self._path} did not answer ({type(error).__name__}).",
                hint="`midflight doctor` looks for the cause. What was asked may have happened.",
            ) from None
        finally:
            connection.close()
        if len(raw) > MAX_ANSWER_BYTES:
            raise Unavailable("The answer is too large to hold.", hint="Ask for less at a time.")
        return _read(response.status, raw)


def _read(status: int, raw: bytes) -> Any:
    try:
        answer = json.loads(raw) if raw else None
    except ValueError:
        raise Unavailable(
            f"The answer (status {status}) is not from a Midflight control API.",
            hint="Another program may listen on this socket.",
        ) from None
    if 200 <= status < 300:
        return answer
    said = cast("dict[str, Any]", answer) if isinstance(answer, dict) else {}
    # The server below the API says `help` where the API says `hint`.
    if isinstance(said.get("error"), dict):
        said = cast("dict[str, Any]", said["error"])
    kind = _ERRORS.get(str(said.get("code")), MidflightError)
    message = str(said.get("message") or f"The plane refused this (status {status}).")
    hint = str(said.get("hint") or said.get("help") or "")
    if said.get("code") == Misconfigured.code:
        problems = cast("list[Any]", said.get("problems") or [])
        raise Misconfigured(message, [str(problem) for problem in problems], hint=hint)
    raise kind(message, hint=hint)


__all__ = ["ControlClient"]
