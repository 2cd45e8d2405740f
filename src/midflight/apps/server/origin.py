"""Host and Origin checks: what stops a web page from reaching Midflight on its visitor's machine.

By DNS rebinding a page's own name comes to resolve to 127.0.0.1; the browser then sends that name
in Host, and the page's origin in Origin (MCP Transports, "Security Warning"). So both must be names
that a listener really has. It says nothing about who calls: `identity` does.
"""

from __future__ import annotations

from collections.abc import Iterable

from midflight.apps.server.asgi import Scope
from midflight.apps.server.listeners import is_loopback
from midflight.domain.errors import Forbidden, Malformed
from midflight.domain.value import Value

_DEFAULT_PORTS = {"http": 80, "https": 443}
# Nothing on the web can open a Unix socket; these are what local clients put into Host there.
_UNIX_HOSTS = ("localhost", "midflight")


class _Allowed(Value):
    hosts: frozenset[bytes]
    origins: frozenset[bytes]


class HostCheck:
    """Decides whether a request was meant for this server, by its Host and Origin.

    Allowed are the names of the address that the connection came in on: a loopback listener is
    `127.0.0.1`, `localhost` and `[::1]` with its port. Further names come from the settings.
    """

    def __init__(self, names: Iterable[str] = (), origins: Iterable[str] = ()) -> None:
        """`names` are host names, with a port where it is not the listener's (`plane.example`,
        `plane.example:8443`); `origins` are further web origins (`https://console.example`).
        """
        self._names = tuple(name.lower() for name in names)
        self._origins = tuple(origin.lower() for origin in origins)
        self._known: dict[tuple[str, str, int | None], _Allowed] = {}

    def check(self, scope: Scope) -> None:
        """Pass a request of an HTTP scope, or refuse it.

        Raises:
            Malformed: Host is missing, or Host or Origin is there twice (400).
            Forbidden: Host or Origin names somebody else (403).
        """
        host = origin = None
        for name, value in scope["headers"]:
            if name == b"host":
                if host is not None:
                    raise _not_once("Host")
                host = value
            elif name == b"origin":
                if origin is not None:
                    raise _not_once("Origin")
                origin = value
        if host is None:
            raise _not_once("Host")
        address, port = scope["server"]
        key = (scope["scheme"], address, port)
        allowed = self._known.get(key)
        if allowed is None:
            # As many entries as this machine has addresses to listen on.
            allowed = self._known[key] = self._allowed(*key)
        if host.lower() not in allowed.hosts:
            raise Forbidden(
                "The Host header names another server.",
                hint="Use the address that Midflight listens on, or add the name to its settings.",
            )
        if origin is not None and origin.lower() not in allowed.origins:
            raise Forbidden(
                "Pages of this origin may not call Midflight.",
                hint="Add the origin to the settings if it should.",
            )

    def _allowed(self, scheme: str, address: str, port: int | None) -> _Allowed:
        if port is None:
            hosts = {*_UNIX_HOSTS, *self._names}
        else:
            literal = f"[{address}]" if ":" in address else address
            own = ("127.0.0.1", "localhost", "[::1]") if is_loopback(address) else (literal,)
            hosts = {
                form
                for name in (*own, *self._names)
                for form in _forms(name, port, default=port == _DEFAULT_PORTS[scheme])
            }
        origins = {f"{scheme}://{host}" for host in hosts}
        return _Allowed(
            hosts=frozenset(host.encode() for host in hosts),
            origins=frozenset(origin.encode() for origin in {*origins, *self._origins}),
        )


def _forms(name: str, port: int, *, default: bool) -> tuple[str, ...]:
    """How a name stands in Host: with its port, and without it where that is the default one."""
    if name.rpartition(":")[2].isdigit() and not name.endswith("]"):
        return (name,)  # it has a port of its own
    return (f"{name}:{port}", name) if default else (f"{name}:{port}",)


def _not_once(header: str) -> Malformed:
    return Malformed(
        f"The request must have exactly one {header} header.",
        hint=f"Send {header} once.",
        rpc_code=-32600,
    )


__all__ = ["HostCheck"]
