"""Operations on credentials: the sources of leases. No answer holds a secret."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any, cast

from midflight.apps.control.operation import Empty, Input, Operation
from midflight.apps.control.operators import Operator
from midflight.apps.control.plane import Plane
from midflight.domain.errors import Conflict, Forbidden, Malformed, MidflightError, NotFound
from midflight.domain.lease import DECOY, Credential, Injection, Revocability
from midflight.domain.value import JSON, JSONObject, Value
from midflight.services.lease_ending import limited
from midflight.services.ports.logins import LogsIn

_SEALED = "sealed:"


class NewCredential(Input):
    """A credential to add, or to put in the place of the one of its name.

    `sealed` are static secrets by the setting that refers to them (`auth.token` is `token` inside
    of `auth`); they are sealed on arrival.
    """

    name: str
    backend: str
    upstreams: tuple[str, ...]
    injections: tuple[Injection, ...] = ()
    settings: JSONObject = {}
    sealed: dict[str, str] = {}
    scopes: tuple[str, ...] = ()
    ttl_s: int = 300
    max_ttl_s: int = 3_600
    replace: bool = False

    def __repr__(self) -> str:
        return f"NewCredential(name={self.name!r})"


class NamedCredential(Input):
    """A credential by name."""

    name: str


class KnownCredential(Value):
    """A credential as it is kept. `settings` holds references to secrets.

    `is_static` says that nothing ends what it lends but somebody who changes it; `age_s` is how
    long ago it was added or replaced; `revocability` is None if its backend cannot be made.
    """

    name: str
    backend: str
    upstreams: Sequence[str]
    injections: Sequence[Injection]
    settings: JSONObject
    scopes: Sequence[str]
    ttl_s: int
    max_ttl_s: int
    added_by: str
    added_at: int
    age_s: int
    revocability: Revocability | None
    is_static: bool


class Tried(Value):
    """What came of a try to reach the backend of a credential."""

    name: str
    said: str


class CredentialVerbs:
    """See the module."""

    def __init__(self, plane: Plane, *, upstreams: Sequence[str]) -> None:
        """`upstreams` are those of the settings."""
        self._credentials = plane.credentials
        self._injecting = plane.injecting
        self._broker = plane.broker
        self._sealed = plane.sealed_secrets
        self._logins = plane.logins
        self._clock = plane.clock
        self._upstreams = frozenset(upstreams)

    async def add_credential(self, given: NewCredential, operator: Operator) -> KnownCredential:
        """Add one, or replace one: then what was lent of it is taken back."""
        if unknown := sorted(set(given.upstreams) - self._upstreams):
            raise NotFound(
                f"There is no upstream {unknown[0]}.", hint="midflight tool list shows them."
            )
        before = self._credentials.find(given.name)
        own = set[str]() if before is None else _sealed_in(before.settings)
        if _sealed_in(given.settings) - own:
            # It would be lent where its owner is not for, and go with whichever is removed first.
            raise Forbidden(
                "A sealed secret is of the credential that it was sealed for, and of no other.",
                hint="Seal it for this one as well: --secret KEY=sealed.",
            )
        _refuse_twice(given)
        if before is not None and not given.replace:
            raise Conflict(
                f"Credential {given.name} exists.", hint="Add --replace to put this in its place."
            )
        made = [
            (field, await self._sealed.seal(text, author=operator.author))
            for field, text in given.sealed.items()
        ]
        settings = given.settings
        for field, secret in made:
            settings = _with(settings, field.split("."), _SEALED + secret)
        try:
            # What an upstream names becomes a setting here, where an operator sees it, or never.
            pinned = await self._credentials.pinned(
                Credential(
                    name=given.name,
                    backend=given.backend,
                    upstreams=frozenset(given.upstreams),
                    injections=given.injections,
                    settings=settings,
                    scopes=given.scopes,
                    ttl_s=given.ttl_s,
                    max_ttl_s=given.max_ttl_s,
                )
            )
            await self._put(pinned, operator=operator, replace=given.replace)
        except BaseException:
            for _, secret in made:
                await self._sealed.forget(secret)
            raise
        if before is not None:
            kept = self._credentials.get(given.name)
            await self._forget(_sealed_in(before.settings) - _sealed_in(kept.settings))
        return self._known(self._credentials.get(given.name))

    async def _put(self, credential: Credential, *, operator: Operator, replace: bool) -> None:
        """With its old settings, what was lent is taken back; then the new ones count."""
        author, name = operator.author, credential.name
        self._credentials.must_not_overlap(credential)
        for upstream in sorted(credential.upstreams):
            self._injecting.must_fit(upstream, [credential])
        with self._credentials.closed(name):
            if replace and self._credentials.find(name) is not None:
                self._credentials.checked(credential)
                await self._broker.revoke(
                    author=author, credential=name, reason="credential replaced"
                )
            await self._credentials.put(credential, author=author, replace=replace)

    async def list_credentials(self, given: Empty, operator: Operator) -> Sequence[KnownCredential]:
        """All credentials, by name."""
        del given, operator
        return [self._known(each) for each in self._credentials.list()]

    async def show_credential(self, given: NamedCredential, operator: Operator) -> KnownCredential:
        """One credential."""
        del operator
        return self._known(self._credentials.get(given.name))

    async def test_credential(self, given: NamedCredential, operator: Operator) -> Tried:
        """Reach its backend, without leaving a trace there."""
        del operator
        backend = self._credentials.backend(given.name)
        return Tried(name=given.name, said=await limited(backend.check(), given.name))

    async def remove_credential(
        self, given: NamedCredential, operator: Operator
    ) -> NamedCredential:
        """Take back what was lent of it, and forget it. `Conflict` while a lease is left."""
        with self._credentials.closed(given.name):
            await self._broker.revoke(
                author=operator.author, credential=given.name, reason="credential removed"
            )
            with contextlib.suppress(MidflightError):  # removing waits for no server
                backend = self._credentials.backend(given.name)
                if isinstance(backend, LogsIn):
                    await limited(backend.end_login(), given.name)
            removed = await self._credentials.remove(given.name, author=operator.author)
        await self._logins.forget(given.name)
        await self._forget(_sealed_in(removed.settings))
        return given

    async def _forget(self, secrets: set[str]) -> None:
        for secret in sorted(secrets):
            await self._sealed.forget(secret)

    def _known(self, credential: Credential) -> KnownCredential:
        revocability = self._credentials.revocability(credential.name)
        return KnownCredential(
            name=credential.name,
            backend=credential.backend,
            upstreams=sorted(credential.upstreams),
            injections=credential.injections,
            settings=credential.settings,
            scopes=credential.scopes,
            ttl_s=credential.ttl_s,
            max_ttl_s=credential.max_ttl_s,
            added_by=credential.added_by,
            added_at=credential.added_at,
            age_s=max(0, int(self._clock.now()) - credential.added_at),
            revocability=revocability,
            is_static=revocability is Revocability.NEVER and credential.backend != DECOY,
        )

    def operations(self) -> Sequence[Operation[Any]]:
        """The rows of the table."""
        return (
            Operation(
                method="GET",
                path="/v1/credentials",
                summary="All credentials, without secrets.",
                input=Empty,
                answer=list[KnownCredential],
                act=self.list_credentials,
            ),
            Operation(
                method="GET",
                path="/v1/credentials/{name}",
                summary="One credential.",
                input=NamedCredential,
                answer=KnownCredential,
                act=self.show_credential,
            ),
            Operation(
                method="POST",
                path="/v1/credentials",
                summary="Add or replace a credential. Static secrets are sealed on arrival.",
                input=NewCredential,
                answer=KnownCredential,
                act=self.add_credential,
                socket_only=True,
            ),
            Operation(
                method="POST",
                path="/v1/credentials/{name}/test",
                summary="Reach the backend of a credential.",
                input=NamedCredential,
                answer=Tried,
                act=self.test_credential,
            ),
            Operation(
                method="POST",
                path="/v1/credentials/{name}/remove",
                summary="Take back what was lent of a credential, and forget it.",
                input=NamedCredential,
                answer=NamedCredential,
                act=self.remove_credential,
            ),
        )


def _sealed_in(value: JSON) -> set[str]:
    """Ids of all sealed secrets that settings refer to, wherever in them."""
    if isinstance(value, str):
        is_one = value.startswith(_SEALED)
        return {value.removeprefix(_SEALED)} if is_one else set()
    inner: Iterable[JSON] = ()
    if isinstance(value, dict):
        inner = value.values()
    elif isinstance(value, list):
        inner = value
    return {each for part in inner for each in _sealed_in(part)}


def _refuse_twice(given: NewCredential) -> None:
    """`Malformed` if a secret would take the place of a setting, or stand inside of one."""
    for field in given.sealed:
        if not all(field.split(".")):
            raise Malformed("A secret is sealed for a setting, which has a name.")
        if any(other.startswith(f"{field}.") for other in given.sealed):
            raise Malformed(f"{field} is given twice: one secret would be inside of another.")
        inner: JSON = given.settings
        for key in field.split("."):
            if not isinstance(inner, dict):
                raise Malformed(f"{field} is given twice: {key} is inside of a value.")
            if key not in inner:
                break
            inner = cast("JSON", inner[key])
        else:
            raise Malformed(f"{field} is given twice: as a setting and to be sealed.")


def _with(settings: JSONObject, keys: Sequence[str], value: str) -> JSONObject:
    """Settings with one more inside."""
    first, *rest = keys
    return {**settings, first: _with(settings.get(first) or {}, rest, value) if rest else value}


__all__ = ["CredentialVerbs", "KnownCredential", "NamedCredential", "NewCredential", "Tried"]
