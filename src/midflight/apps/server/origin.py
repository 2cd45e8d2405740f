"""Host and Origin checks: what stops a web page from reaching Midflight on its visitor's machine.

By DNS rebinding a page's own name comes to resolve to 127.0.0.1; the browser then sends that name
in Host, and the page's origin in Origin (MCP Transports, "Security Warning"). So both must be names
that a listener really has. It says nothing about who calls: `identity` does.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from midflight.apps.server.asgi import Scope
from midflight.apps.server.listeners import is_loopback
from midflight.domain.errors import Forbidden, Malformed
from midflight.domain.value import Value

_DEFAULT_PORTS = {"http": 80, "https": 443}
_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
# Nothing on the web can open a Unix socket; these are what local clients put into Host there.
_UNIX_NAMES = ("localhost", "midflight")


class OriginRefusal(Value):
    """Why a request was not meant for this server. `status` is 400 or 403."""

    status: int
    code: str
    reason: str
    hint: str


_HOST_NOT_ONCE = OriginRefusal(
    status=400,
    code="bad_host",
    reason="The request must have exactly one Host header.",
    hint="Send Host once.",
)
_ORIGIN_TWICE = OriginRefusal(
    status=400,
    code="bad_origin",
    reason="The request has more than one Origin header.",
    hint="Send Origin once, or not at all.",
)
_FOREIGN_HOST = OriginRefusal(
    status=403,
    code="foreign_host",
    reason="The Host header names another server.",
    hint="Use the address that Midflight listens on, or add the name to its settings.",
)
_FOREIGN_ORIGIN = OriginRefusal(
    status=403,
    code="foreign_origin",
    reason="Pages of this origin may not call Midflight.",
    hint="Add the origin to the settings if they should.",
)


class _Allowed(Value):
    hosts: frozenset[bytes]
    origins: frozenset[bytes]


class OriginPolicy:
    """Decides whether a request was meant for this server, by its Host and Origin.

    Allowed are the names of the address that the connection came in on: a loopback listener is
    `127.0.0.1`, `localhost` and `[::1]` with its port. Further names come from the settings.
    """

    def __init__(
        self, hosts: Iterable[str] = (), origins: Iterable[str] = (), *, url: str = ""
    ) -> None:
        """Names besides the listener's own.

        `hosts` have a port where it is not the listener's (`plane.example`, `plane.example:8443`);
        each also allows its origin. `origins` are further web origins (`https://console.example`).
        `url` is where clients reach the server through something in between that keeps their Host.
        """
        self._hosts = tuple(host.lower() for host in hosts)
        self._origins = tuple(origin.lower() for origin in origins)
        self._outside = _outside(url.lower())
        self._known: dict[tuple[str, str, int | None], _Allowed] = {}

    def check(self, scope: Scope) -> OriginRefusal | None:
        """None to pass a request of an HTTP scope, or why not. An Origin of `null` never passes."""
        host: bytes | None = None
        origin: bytes | None = None
        for name, value in scope["headers"]:
            if name == b"host":
                if host is not None:
                    return _HOST_NOT_ONCE
                host = value
            elif name == b"origin":
                if origin is not None:
                    return _ORIGIN_TWICE
                origin = value
        if host is None:
            return _HOST_NOT_ONCE
        address, port = scope["server"]
        key = (scope["scheme"], address, port)
        allowed = self._known.get(key)
        if allowed is None:
            # As many entries as this machine has addresses to listen on.
            allowed = self._known[key] = self._allowed(*key)
        if host.lower() not in allowed.hosts:
            return _FOREIGN_HOST
        if origin is not None and origin.lower() not in allowed.origins:
            return _FOREIGN_ORIGIN
        return None

    def admit(self, scope: Scope) -> None:
        """Like `check`, for apps that answer by exception.

        Raises:
            Malformed: Host is missing or there twice, or Origin is there twice (400).
            Forbidden: Host or Origin names somebody else (403).
        """
        refusal = self.check(scope)
        if refusal is None:
            return
        if refusal.status == 400:
            raise Malformed(refusal.reason, hint=refusal.hint, rpc_code=-32600)
        raise Forbidden(refusal.reason, hint=refusal.hint)

    def _allowed(self, scheme: str, address: str, port: int | None) -> _Allowed:
        if port is None:
            hosts = {*_UNIX_NAMES, *self._hosts}
        else:
            literal = f"[{address}]" if ":" in address else address
            own = _LOOPBACK_NAMES if is_loopback(address) else (literal,)
            default = port == _DEFAULT_PORTS[scheme]
            hosts = {
                form
                for name in (*own, *self._hosts)
                for form in _forms(name, port, default=default)
            }
        origins = {f"{scheme}://{host}" for host in hosts}
        if port is not None:
            hosts |= {host for host, _ in self._outside}
            origins |= {origin for _, origin in self._outside}
        return _Allowed(
            hosts=frozenset(host.encode() for host in hosts),
            origins=frozenset(origin.encode() for origin in {*origins, *self._origins}),
        )


def _outside(url: str) -> tuple[tuple[str, str], ...]:
    """(Host, Origin) of a URL as clients send them: a default port is left out."""
    parts = urlsplit(url)
    if not parts.hostname:
        return ()
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if parts.port is not None and parts.port != _DEFAULT_PORTS[parts.scheme]:
        host = f"{host}:{parts.port}"
    return ((host, f"{parts.scheme}://{host}"),)


def _forms(name: str, port: int, *, default: bool) -> tuple[str, ...]:
    """How a name stands in Host: with its port, and without it where that is the default one."""
    if name.rpartition(":")[2].isdigit() and not name.endswith("]"):
        return (name,)  # it has a port of its own
    return (f"{name}:{port}", name) if default else (f"{name}:{port}",)


__all__ = ["OriginPolicy", "OriginRefusal"]
