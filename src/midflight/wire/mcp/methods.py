"""Every method of every protocol version, in one table.

What a message may do follows from its row: which kind of action it is, where its target's name
stands, in which versions it exists, whether its result may be cached, and whether its result may
ask for more input. A method that is not here is refused; nothing is forwarded because it is
unknown.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Final

from midflight.domain.action import ActionKind
from midflight.domain.value import Value
from midflight.wire.jsonrpc import Notification, Request
from midflight.wire.malformed import UnknownMethod
from midflight.wire.mcp.versions import MODERN, between


class Role(enum.Enum):
    """Which way a message goes, and whether it is owed an answer."""

    CLIENT_REQUEST = "client request"
    CLIENT_NOTIFICATION = "client notification"
    SERVER_REQUEST = "server request"
    SERVER_NOTIFICATION = "server notification"


class Own(enum.Enum):
    """What Midflight answers or consumes itself and never forwards as it came."""

    LIFECYCLE = "lifecycle"
    CANCEL = "cancel"


class Method(Value):
    """One row.

    Attributes:
        name: the JSON-RPC method.
        role: who sends it.
        kind: the action it is, or that it is Midflight's own. Server messages have the kind of
            the client's answer (`answer`), or None where nothing is answered.
        first, last: the versions it exists in.
        name_field: member of `params` that names the target, mirrored in `Mcp-Name`.
        name_header: whether the modern generation requires `Mcp-Name`.
        cacheable: whether a complete modern result carries `ttlMs` and `cacheScope`.
        may_ask: whether a modern result may be `input_required`.
        fields: further members of `params` that the specification gives it.
    """

    name: str
    role: Role
    kind: ActionKind | Own | None
    first: str = "2025-03-26"
    last: str = MODERN
    name_field: str | None = None
    name_header: bool = False
    cacheable: bool = False
    may_ask: bool = False
    fields: tuple[str, ...] = ()

    def spoken_in(self, version: str) -> bool:
        """Whether the method exists in this version."""
        return between(version, self.first, self.last)


_LAST_LEGACY: Final = "2025-11-25"
_TASKS: Final = "2025-11-25"
_RETRY: Final = ("inputResponses", "requestState")


_asks = partial(Method, role=Role.CLIENT_REQUEST)
_tells = partial(Method, role=Role.CLIENT_NOTIFICATION)
_asked = partial(Method, role=Role.SERVER_REQUEST)
_told = partial(Method, role=Role.SERVER_NOTIFICATION, kind=None)

# fmt: off
TABLE: Final[tuple[Method, ...]] = (
    # Client requests
    _asks(name="initialize", kind=Own.LIFECYCLE, last=_LAST_LEGACY),
    _asks(name="ping", kind=Own.LIFECYCLE, last=_LAST_LEGACY),
    _asks(name="server/discover", kind=Own.LIFECYCLE, first=MODERN, cacheable=True),
    _asks(name="tools/list", kind=ActionKind.LIST, cacheable=True, fields=("cursor",)),
    _asks(name="tools/call", kind=ActionKind.CALL_TOOL, name_field="name", name_header=True,
          may_ask=True, fields=("arguments", "task", *_RETRY)),
    _asks(name="resources/list", kind=ActionKind.LIST, cacheable=True, fields=("cursor",)),
    _asks(name="resources/templates/list", kind=ActionKind.LIST, cacheable=True,
          fields=("cursor",)),
    _asks(name="resources/read", kind=ActionKind.READ_RESOURCE, name_field="uri", name_header=True,
          cacheable=True, may_ask=True, fields=_RETRY),
    _asks(name="resources/subscribe", kind=ActionKind.SUBSCRIBE, last=_LAST_LEGACY,
          name_field="uri"),
    _asks(name="resources/unsubscribe", kind=ActionKind.SUBSCRIBE, last=_LAST_LEGACY,
          name_field="uri"),
    _asks(name="subscriptions/listen", kind=ActionKind.SUBSCRIBE, first=MODERN,
          fields=("notifications",)),
    _asks(name="prompts/list", kind=ActionKind.LIST, cacheable=True, fields=("cursor",)),
    _asks(name="prompts/get", kind=ActionKind.GET_PROMPT, name_field="name", name_header=True,
          may_ask=True, fields=("arguments", *_RETRY)),
    _asks(name="completion/complete", kind=ActionKind.COMPLETE,
          fields=("ref", "argument", "context")),
    _asks(name="logging/setLevel", kind=ActionKind.NOTIFY, last=_LAST_LEGACY, fields=("level",)),
    _asks(name="tasks/get", kind=ActionKind.TASK, first=_TASKS, name_field="taskId"),
    _asks(name="tasks/result", kind=ActionKind.TASK, first=_TASKS, last=_LAST_LEGACY,
          name_field="taskId"),
    _asks(name="tasks/cancel", kind=ActionKind.TASK, first=_TASKS, name_field="taskId"),
    _asks(name="tasks/list", kind=ActionKind.LIST, first=_TASKS, last=_LAST_LEGACY,
          fields=("cursor",)),
    _asks(name="tasks/update", kind=ActionKind.TASK, first=MODERN, name_field="taskId",
          fields=("inputResponses",)),
    # Client notifications
    _tells(name="notifications/initialized", kind=Own.LIFECYCLE, last=_LAST_LEGACY),
    _tells(name="notifications/cancelled", kind=Own.CANCEL, fields=("requestId", "reason")),
    _tells(name="notifications/progress", kind=ActionKind.NOTIFY, last=_LAST_LEGACY,
           fields=("progressToken", "progress", "total", "message")),
    _tells(name="notifications/roots/list_changed", kind=ActionKind.NOTIFY, last=_LAST_LEGACY),
    _tells(name="notifications/tasks/status", kind=ActionKind.NOTIFY, first=_TASKS,
           last=_LAST_LEGACY),
    # Server requests. In the modern generation they travel inside `input_required` results.
    _asked(name="ping", kind=Own.LIFECYCLE, last=_LAST_LEGACY),
    _asked(name="sampling/createMessage", kind=ActionKind.ANSWER),
    _asked(name="roots/list", kind=ActionKind.ANSWER),
    _asked(name="elicitation/create", kind=ActionKind.ANSWER, first="2025-06-18"),
    # Tasks that the client hosts. Midflight never declares that a client has them.
    _asked(name="tasks/get", kind=ActionKind.ANSWER, first=_TASKS, last=_LAST_LEGACY,
           name_field="taskId"),
    _asked(name="tasks/result", kind=ActionKind.ANSWER, first=_TASKS, last=_LAST_LEGACY,
           name_field="taskId"),
    _asked(name="tasks/cancel", kind=ActionKind.ANSWER, first=_TASKS, last=_LAST_LEGACY,
           name_field="taskId"),
    _asked(name="tasks/list", kind=ActionKind.ANSWER, first=_TASKS, last=_LAST_LEGACY),
    # Server notifications
    _told(name="notifications/cancelled"),
    _told(name="notifications/progress"),
    _told(name="notifications/message"),
    _told(name="notifications/tools/list_changed"),
    _told(name="notifications/prompts/list_changed"),
    _told(name="notifications/resources/list_changed"),
    _told(name="notifications/resources/updated"),
    _told(name="notifications/elicitation/complete", first=_LAST_LEGACY, last=_LAST_LEGACY),
    _told(name="notifications/tasks/status", first=_TASKS, last=_LAST_LEGACY),
    _told(name="notifications/subscriptions/acknowledged", first=MODERN),
    _told(name="notifications/tasks", first=MODERN),
)
# fmt: on


def _rows(role: Role) -> Mapping[str, Method]:
    return MappingProxyType({row.name: row for row in TABLE if row.role is role})


CLIENT_REQUESTS: Final = _rows(Role.CLIENT_REQUEST)
CLIENT_NOTIFICATIONS: Final = _rows(Role.CLIENT_NOTIFICATION)
SERVER_REQUESTS: Final = _rows(Role.SERVER_REQUEST)
SERVER_NOTIFICATIONS: Final = _rows(Role.SERVER_NOTIFICATION)


def from_client(message: Request | Notification, *, version: str | None = None) -> Method:
    """The row of a client's message, if it exists (in `version`, when given).

    Raises:
        UnknownMethod: -32601, with the request's id.
    """
    request_id = message.id if isinstance(message, Request) else None
    rows = CLIENT_NOTIFICATIONS if request_id is None else CLIENT_REQUESTS
    method = rows.get(message.method)
    if method is None:
        raise UnknownMethod(
            f"There is no {'notification' if request_id is None else 'method'} of that name.",
            hint="Use a method of the Model Context Protocol.",
            request_id=request_id,
        )
    if version is not None and not method.spoken_in(version):
        raise UnknownMethod(
            f"{method.name} does not exist in protocol version {version}.",
            hint=f"It exists from {method.first} to {method.last}.",
            request_id=request_id,
        )
    return method


__all__ = [
    "CLIENT_NOTIFICATIONS",
    "CLIENT_REQUESTS",
    "SERVER_NOTIFICATIONS",
    "SERVER_REQUESTS",
    "TABLE",
    "Method",
    "Own",
    "Role",
    "from_client",
]
