"""Operations on OAuth clients, and login codes for development."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from midflight.apps.control.operation import Empty, Input, Operation
from midflight.apps.control.operators import Operator
from midflight.apps.control.plane import Plane
from midflight.domain.authorization import Client
from midflight.domain.errors import Malformed
from midflight.domain.scopes import scopes_of
from midflight.domain.value import Discreet, JSONObject, Value


class NewClient(Input):
    """A client to register. `id` is a name, or with `document` the URL of its metadata."""

    id: str
    workload: str
    name: str = ""
    redirect_uris: tuple[str, ...] = ()
    keys: tuple[JSONObject, ...] = ()
    scope: str | None = None
    document: bool = False
    disabled: bool = False


class NamedClient(Input):
    """A client by id."""

    id: str


class KnownClient(Value):
    """A registered client."""

    id: str
    workload: str
    name: str
    redirect_uris: tuple[str, ...]
    keys: int
    scope: str | None
    document: bool
    disabled: bool
    by: str
    at: int


class LoginCode(Discreet):
    """A code for the development login, handed out once."""

    shown = ("seconds",)

    code: str
    seconds: int


class ClientVerbs:
    """See the module."""

    def __init__(self, plane: Plane) -> None:
        self._oauth = plane.oauth

    async def add_client(self, given: NewClient, operator: Operator) -> KnownClient:
        """Register or replace one."""
        scope = None
        if given.scope is not None:
            try:
                scope = scopes_of(given.scope)
            except ValueError as error:
                raise Malformed(
                    f"The scope is not usable: {error}.", hint="mcp, mcp:git, mcp:git/git_log …"
                ) from None
        client = Client(
            id=given.id,
            workload=given.workload,
            name=given.name or given.id[:100],
            redirect_uris=given.redirect_uris,
            keys=given.keys,
            scope=scope,
            document=given.document,
            disabled=given.disabled,
        )
        return _known(await self._oauth.clients.add(client, operator.author))

    async def list_clients(self, given: Empty, operator: Operator) -> Sequence[KnownClient]:
        """All clients, by id."""
        del given, operator
        return [_known(client) for client in await self._oauth.clients.list()]

    async def remove_client(self, given: NamedClient, operator: Operator) -> NamedClient:
        """Give it nothing more."""
        await self._oauth.clients.remove(given.id, operator.author)
        return given

    async def login_code(self, given: Empty, operator: Operator) -> LoginCode:
        """Let this operator log in as a person, on this machine."""
        del given
        code, lasts = self._oauth.people.new_code(operator.author)
        return LoginCode(code=code, seconds=lasts)

    def operations(self) -> Sequence[Operation[Any]]:
        """The rows of the table."""
        return (
            Operation(
                method="GET",
                path="/v1/clients",
                summary="All OAuth clients.",
                input=Empty,
                answer=list[KnownClient],
                act=self.list_clients,
            ),
            Operation(
                method="POST",
                path="/v1/clients",
                summary="Register an OAuth client, or replace its registration.",
                input=NewClient,
                answer=KnownClient,
                act=self.add_client,
                socket_only=True,
            ),
            Operation(
                method="POST",
                path="/v1/clients/remove",
                summary="Forget an OAuth client. Tokens that it has end by themselves.",
                input=NamedClient,
                answer=NamedClient,
                act=self.remove_client,
            ),
            Operation(
                method="POST",
                path="/v1/login-codes",
                summary="A code for the development login. It proves whoever prints it, once.",
                input=Empty,
                answer=LoginCode,
                act=self.login_code,
                socket_only=True,
            ),
        )


def _known(client: Client) -> KnownClient:
    return KnownClient(
        id=client.id,
        workload=client.workload,
        name=client.name,
        redirect_uris=client.redirect_uris,
        keys=len(client.keys),
        scope=None if client.scope is None else " ".join(client.scope),
        document=client.document,
        disabled=client.disabled,
        by=client.by,
        at=client.at,
    )


__all__ = ["ClientVerbs", "KnownClient", "LoginCode", "NamedClient", "NewClient"]
