"""Operations on logins: a person lets Midflight act for them at an upstream, once.

No answer holds a code or a token. The verifier and the state stay in the plane; what passes here is
the URL for a browser, and what the browser brought back. Over the socket alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from midflight.apps.control.operation import Input, Operation
from midflight.apps.control.operators import Operator
from midflight.apps.control.plane import Plane
from midflight.domain.errors import Conflict
from midflight.domain.value import Value
from midflight.services.changes import record_change
from midflight.services.lease_ending import limited
from midflight.services.ports.logins import EndedLogin, LogsIn


class NewLogin(Input):
    """A credential by name, and where on this machine the browser is sent back to."""

    name: str
    redirect_uri: str


class LoginAnswer(Input):
    """What the browser brought back for a login."""

    name: str
    login: str
    parameters: dict[str, str]

    def __repr__(self) -> str:
        return f"LoginAnswer(name={self.name!r}, login={self.login!r})"


class WaitingLogin(Value):
    """A login that waits: `url` is for the person's browser, `issuer` is who asks there."""

    name: str
    login: str
    url: str
    issuer: str
    scopes: Sequence[str]


class LoggedIn(Value):
    """A login that is done, and how long it lasts, in words."""

    name: str
    issuer: str
    scopes: Sequence[str]
    lasts: str


class LoginVerbs:
    """See the module."""

    def __init__(self, plane: Plane) -> None:
        """Logs in to backends of the plane's credentials."""
        self._credentials = plane.credentials
        self._recorder = plane.ledger
        self._clock = plane.clock

    async def begin(self, given: NewLogin, operator: Operator) -> WaitingLogin:
        """Begin a login, and say where the person goes."""
        del operator
        begun = await limited(self._backend(given.name).begin_login(given.redirect_uri), given.name)
        return WaitingLogin(
            name=given.name, login=begun.id, url=begun.url, issuer=begun.issuer, scopes=begun.scopes
        )

    async def finish(self, given: LoginAnswer, operator: Operator) -> LoggedIn:
        """End a login with what came back. On record before it is answered."""
        backend = self._backend(given.name)
        ended = await limited(backend.finish_login(given.login, given.parameters), given.name)
        await self._record(given.name, ended, operator)
        return LoggedIn(
            name=given.name, issuer=ended.issuer, scopes=ended.scopes, lasts=ended.lasts
        )

    def operations(self) -> Sequence[Operation[Any]]:
        """The rows of the table."""
        return (
            Operation(
                method="POST",
                path="/v1/credentials/{name}/login",
                summary="Begin the login of a person whom a credential acts for.",
                input=NewLogin,
                answer=WaitingLogin,
                act=self.begin,
                socket_only=True,
            ),
            Operation(
                method="POST",
                path="/v1/credentials/{name}/login/{login}",
                summary="End a login with what the browser brought back.",
                input=LoginAnswer,
                answer=LoggedIn,
                act=self.finish,
                socket_only=True,
            ),
        )

    def _backend(self, name: str) -> LogsIn:
        backend = self._credentials.backend(name)
        if not isinstance(backend, LogsIn):
            raise Conflict(
                f"Nobody logs in for credential {name}.",
                hint="That is for the backend oauth with grant=authorization_code.",
            )
        return backend

    async def _record(self, name: str, ended: EndedLogin, operator: Operator) -> None:
        author = operator.author
        await record_change(
            self._recorder,
            at=self._clock.now(),
            what="credential.login",
            author=author,
            details={
                "credential": name,
                "issuer": ended.issuer,
                "scopes": list(ended.scopes),
            },
        )


__all__ = ["LoggedIn", "LoginAnswer", "LoginVerbs", "NewLogin", "WaitingLogin"]
