"""Operations on registration entries and join tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from midflight.apps.control.operation import Empty, Input, Operation
from midflight.apps.control.operators import Operator
from midflight.apps.control.plane import Plane
from midflight.domain.attestation import Entry, Selector
from midflight.domain.errors import Malformed
from midflight.domain.spiffe import MAX_JWT_TTL_S, MAX_X509_TTL_S
from midflight.domain.value import Discreet, Value
from midflight.services.join_tokens import DEFAULT_TTL_S


class NewEntry(Input):
    """An entry to add: whoever has all `selectors` is the workload `spiffe_id`."""

    spiffe_id: str
    selectors: tuple[str, ...]
    x509_ttl_s: int = MAX_X509_TTL_S
    jwt_ttl_s: int = MAX_JWT_TTL_S
    federates_with: tuple[str, ...] = ()
    hint: str = ""
    run: str | None = None
    ttl_s: int | None = None


class NamedEntry(Input):
    """An entry by id."""

    id: str


class KnownEntry(Value):
    """An entry as people see it. `problem` says why it is not in force, or is None."""

    id: str
    spiffe_id: str
    selectors: tuple[str, ...]
    x509_ttl_s: int
    jwt_ttl_s: int
    federates_with: tuple[str, ...]
    hint: str
    run: str | None
    expires_at: int | None
    added_by: str
    proof: str
    added_at: int
    problem: str | None


class WantedJoinToken(Input):
    """A join token to create."""

    spiffe_id: str
    ttl_s: int = DEFAULT_TTL_S


class NamedJoinToken(Input):
    """A join token by id."""

    id: str


class CreatedJoinToken(Discreet):
    """A new join token: the only copy."""

    shown = ("id", "spiffe_id")

    id: str
    spiffe_id: str
    expires_at: int
    token: str


class KnownJoinToken(Value):
    """A join token that was not used, without itself."""

    id: str
    spiffe_id: str
    expires_at: int
    added_by: str
    added_at: int


class RegistrationVerbs:
    """See the module."""

    def __init__(self, plane: Plane) -> None:
        self._registration = plane.registration
        self._tokens = plane.join_tokens

    async def add_entry(self, given: NewEntry, operator: Operator) -> KnownEntry:
        """Add one."""
        try:
            selectors = [Selector.parse(text) for text in given.selectors]
        except ValueError as error:
            raise Malformed(
                f"selectors: {error}.", hint="Write TYPE:VALUE, such as unix:uid:1000."
            ) from None
        entry = await self._registration.add(
            spiffe_id=given.spiffe_id,
            selectors=selectors,
            author=operator.author,
            x509_ttl_s=given.x509_ttl_s,
            jwt_ttl_s=given.jwt_ttl_s,
            federates_with=given.federates_with,
            hint=given.hint,
            run=given.run,
            ttl_s=given.ttl_s,
        )
        return self._known(entry)

    async def list_entries(self, given: Empty, operator: Operator) -> Sequence[KnownEntry]:
        """All entries, by id."""
        del given, operator
        return [self._known(entry) for entry in self._registration.list()]

    async def show_entry(self, given: NamedEntry, operator: Operator) -> KnownEntry:
        """One entry."""
        del operator
        return self._known(self._registration.get(given.id))

    async def remove_entry(self, given: NamedEntry, operator: Operator) -> KnownEntry:
        """End one."""
        return self._known(await self._registration.remove(given.id, operator.author))

    async def create_token(self, given: WantedJoinToken, operator: Operator) -> CreatedJoinToken:
        """Create a join token."""
        made = await self._tokens.create(given.spiffe_id, operator.author, ttl_s=given.ttl_s)
        return CreatedJoinToken(
            id=made.id, spiffe_id=made.spiffe_id, expires_at=made.expires_at, token=made.token
        )

    async def list_tokens(self, given: Empty, operator: Operator) -> Sequence[KnownJoinToken]:
        """Join tokens that were not used."""
        del given, operator
        return [
            KnownJoinToken(
                id=token.id,
                spiffe_id=token.spiffe_id,
                expires_at=token.expires_at,
                added_by=token.added_by,
                added_at=token.added_at,
            )
            for token in await self._tokens.list()
        ]

    async def remove_token(self, given: NamedJoinToken, operator: Operator) -> NamedJoinToken:
        """Withdraw a join token."""
        await self._tokens.remove(given.id, operator.author)
        return given

    def _known(self, entry: Entry) -> KnownEntry:
        return KnownEntry(
            id=entry.id,
            spiffe_id=entry.spiffe_id,
            selectors=tuple(str(selector) for selector in sorted(entry.selectors)),
            x509_ttl_s=entry.x509_ttl_s,
            jwt_ttl_s=entry.jwt_ttl_s,
            federates_with=entry.federates_with,
            hint=entry.hint,
            run=entry.run,
            expires_at=entry.expires_at,
            added_by=entry.added_by,
            proof=entry.proof,
            added_at=entry.added_at,
            problem=self._registration.why_not(entry),
        )

    def operations(self) -> Sequence[Operation[Any]]:
        """The rows of the table."""
        return (
            Operation(
                method="GET",
                path="/v1/entries",
                summary="All registration entries, with why one is not in force.",
                input=Empty,
                answer=list[KnownEntry],
                act=self.list_entries,
            ),
            Operation(
                method="GET",
                path="/v1/entries/{id}",
                summary="One registration entry.",
                input=NamedEntry,
                answer=KnownEntry,
                act=self.show_entry,
            ),
            Operation(
                method="POST",
                path="/v1/entries",
                summary="Register who has these selectors as a workload.",
                input=NewEntry,
                answer=KnownEntry,
                act=self.add_entry,
                socket_only=True,
            ),
            Operation(
                method="POST",
                path="/v1/entries/remove",
                summary="End a registration entry.",
                input=NamedEntry,
                answer=KnownEntry,
                act=self.remove_entry,
            ),
            Operation(
                method="GET",
                path="/v1/join-tokens",
                summary="Join tokens that were not used.",
                input=Empty,
                answer=list[KnownJoinToken],
                act=self.list_tokens,
            ),
            Operation(
                method="POST",
                path="/v1/join-tokens",
                summary="Create a join token. The answer is the only copy.",
                input=WantedJoinToken,
                answer=CreatedJoinToken,
                act=self.create_token,
                socket_only=True,
            ),
            Operation(
                method="POST",
                path="/v1/join-tokens/remove",
                summary="Withdraw a join token.",
                input=NamedJoinToken,
                answer=NamedJoinToken,
                act=self.remove_token,
            ),
        )


__all__ = ["KnownEntry", "NewEntry", "RegistrationVerbs", "WantedJoinToken"]
