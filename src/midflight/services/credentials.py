"""Credentials: which sources of leases there are, for which upstreams, and what makes them.

The registry of one process, read from the store at start. It holds references to secrets and never
one. It hands out no lease (`broker.py`). Below: `ports/lease_store.py`, backends.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager

import msgspec

from midflight.domain import placing
from midflight.domain.errors import Conflict, MidflightError, Misconfigured, NotFound
from midflight.domain.identity import Author
from midflight.domain.lease import Credential, LeaseState, Revocability
from midflight.services.changes import record_change
from midflight.services.ports.clock import Clock
from midflight.services.ports.credential_backend import CredentialBackend
from midflight.services.ports.logins import Pins
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.secret_reader import BackendMaker, SecretReader, Setup
from midflight.services.ports.store import Store

MIN_TTL_S = 30
MAX_TTL_S = 43_200
"""Seconds that a lease may live at most, however often it is renewed."""
_INSTALLATION = "installation"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}\Z")
_SECRET = re.compile(r"(?:^|_)(?:password|passphrase|secret|token|private_key|api_key)\Z")
REFERENCE = re.compile(r"(?:env:[A-Za-z_][A-Za-z0-9_]*|file:/[^\0]+|sealed:sealed_[a-z2-7]{26})\Z")


class Credentials:
    """See the module."""

    def __init__(
        self,
        *,
        store: Store,
        recorder: Recorder,
        clock: Clock,
        makers: Mapping[str, BackendMaker],
        secrets: SecretReader,
    ) -> None:
        """`makers` gives what makes a backend, by its kind."""
        self._store = store
        self._recorder = recorder
        self._clock = clock
        self._makers = makers
        self._secrets = secrets
        self._installation = ""
        self._known: dict[str, Credential] = {}
        self._backends: dict[str, CredentialBackend] = {}
        self._by_upstream: dict[str, tuple[Credential, ...]] = {}
        self._closing: dict[str, int] = {}

    async def start(self) -> None:
        """Read what is configured. A backend that cannot be made is known and refuses."""
        stored = await self._store.get_snapshot(_INSTALLATION)
        if stored is None:
            stored = self._clock.token().encode()
            await self._store.put_snapshot(_INSTALLATION, stored)
        self._installation = stored.decode()
        for credential in await self._store.list_credentials():
            self._known[credential.name] = credential
        self._index()

    async def close(self) -> None:
        """Release all connections."""
        backends, self._backends = self._backends, {}
        for backend in backends.values():
            await backend.close()

    # Looking

    def find(self, name: str) -> Credential | None:
        """One by name, from memory."""
        return self._known.get(name)

    def get(self, name: str) -> Credential:
        """One by name. `NotFound` if there is none."""
        found = self._known.get(name)
        if found is None:
            raise NotFound(
                f"There is no credential {name}.", hint="midflight credential list shows them."
            )
        return found

    def list(self) -> Sequence[Credential]:
        """All, by name."""
        return [self._known[name] for name in sorted(self._known)]

    def bound_to(self, upstream: str) -> Sequence[Credential]:
        """Those that are for an upstream, by name. O(1)."""
        return self._by_upstream.get(upstream, ())

    def backend(self, name: str) -> CredentialBackend:
        """What makes and ends leases of a credential.

        Raises:
            NotFound: there is no such credential.
            Misconfigured: it cannot be made as it is configured.
        """
        made = self._backends.get(name)
        if made is None:
            made = self._backends[name] = self._make(self.get(name))
        return made

    def revocability(self, name: str) -> Revocability | None:
        """What ends its leases early; None if its backend cannot be made."""
        try:
            return self.backend(name).revocability
        except MidflightError:
            return None

    # Verbs of operators

    def checked(self, credential: Credential) -> Credential:
        """The same, if it can be used. `Misconfigured` with every problem at once."""
        problems = list(_problems(credential))
        if credential.backend not in self._makers:
            kinds = ", ".join(sorted(self._makers))
            problems.append(f"backend: {credential.backend} is none of {kinds}")
        if problems:
            raise Misconfigured(
                f"Credential {credential.name} cannot be used: {'; '.join(problems)}.",
                hint="midflight credential add --help shows an example.",
            )
        backend = self._make(credential)
        if misplaced := placing.problems(credential.injections, backend.fields):
            raise Misconfigured(
                f"Credential {credential.name} cannot be placed: {'; '.join(misplaced)}.",
                hint="midflight credential add --help shows an example.",
            )
        return credential

    def must_not_overlap(self, credential: Credential) -> None:
        """`Conflict` if it would be placed where another one of the same upstream is."""
        wanted = placing.places(credential.injections)
        for upstream in sorted(credential.upstreams):
            for other in self.bound_to(upstream):
                both = wanted & placing.places(other.injections)
                if both and other.name != credential.name:
                    raise Conflict(
                        f"Credential {other.name} is placed into {placing.named(min(both))} of "
                        f"{upstream} already, and no call carries two there.",
                        hint=f"Place it elsewhere, or: midflight credential remove {other.name}",
                    )

    async def pinned(self, credential: Credential) -> Credential:
        """The same, with what its backend finds that is an operator's to choose written into it.

        Raises:
            Misconfigured: it cannot be used, or nothing can be chosen without more being said.
            Unavailable: whoever is asked does not answer.
        """
        self.checked(credential)
        backend = self._make(credential)
        try:
            return await backend.pinned() if isinstance(backend, Pins) else credential
        finally:
            await backend.close()

    @contextmanager
    def closed(self, name: str) -> Generator[None]:
        """Meanwhile no lease of it is begun, so that the last one can end."""
        self._closing[name] = self._closing.get(name, 0) + 1
        try:
            yield
        finally:
            self._closing[name] -= 1
            if not self._closing[name]:
                del self._closing[name]

    def is_closed(self, name: str) -> bool:
        """Whether it is being replaced or removed."""
        return name in self._closing

    async def put(self, credential: Credential, *, author: Author, replace: bool = False) -> None:
        """Add a credential, or replace the one of its name. On record before it counts.

        Raises:
            Misconfigured: it cannot be used; names every problem.
            Conflict: there is one of that name, and it is not to be replaced, or leases of it are
                left that only its own settings can end.
        """
        self.checked(credential)
        before = self._known.get(credential.name)
        if replace and before is not None:
            await self._must_be_spent(before, credential)
        known = msgspec.structs.replace(
            credential,
            added_by=author.name,
            proof=author.proof,
            added_at=int(self._clock.now()),
        )
        await self._store.put_credential(known, replace=replace)
        await self._changed("credential.replace" if replace else "credential.add", known, author)
        self._known[known.name] = known
        self._index()
        await self._release(known.name)

    async def remove(self, name: str, *, author: Author) -> Credential:
        """Forget a credential. `Conflict` while leases of it are not revoked."""
        known = self.get(name)
        await self._store.delete_credential(name)
        await self._changed("credential.remove", known, author)
        self._known.pop(name, None)
        self._index()
        await self._release(name)
        return known

    # Inside

    async def _must_be_spent(self, known: Credential, new: Credential) -> None:
        """`Conflict` while leases are left that another backend would look for in vain.

        What ends by itself is waited for under the new one as well, if that knows that it must.
        """
        states = [state for state in LeaseState if state is not LeaseState.REVOKED]
        left = await self._store.list_leases(credential=known.name, states=states, limit=1)
        lasting = Revocability.AT_EXPIRY
        both_wait = self.revocability(known.name) is lasting is self._make(new).revocability
        if left and not both_wait:
            raise Conflict(
                f"Leases of credential {known.name} are not over at its backend, and with other "
                "settings nobody would know when they are.",
                hint=f"midflight lease list --credential {known.name} says why; or add the new one "
                "under another name.",
            )

    def _make(self, credential: Credential) -> CredentialBackend:
        maker = self._makers.get(credential.backend)
        if maker is None:
            raise Misconfigured(
                f"Credential {credential.name} has a backend that this version does not know: "
                f"{credential.backend}.",
            )
        return maker(
            Setup(
                credential=credential,
                secrets=self._secrets,
                installation=self._installation,
                clock=self._clock,
            )
        )

    def _index(self) -> None:
        found: dict[str, list[Credential]] = {}
        for credential in self.list():
            for upstream in credential.upstreams:
                found.setdefault(upstream, []).append(credential)
        self._by_upstream = {upstream: tuple(known) for upstream, known in found.items()}

    async def _release(self, name: str) -> None:
        backend = self._backends.pop(name, None)
        if backend is not None:
            await backend.close()

    async def _changed(self, what: str, credential: Credential, author: Author) -> None:
        await record_change(
            self._recorder,
            at=self._clock.now(),
            what=what,
            author=author,
            details={
                "credential": credential.name,
                "backend": credential.backend,
                "upstreams": sorted(credential.upstreams),
                "scopes": list(credential.scopes),
            },
        )


def _problems(credential: Credential) -> Sequence[str]:
    found: list[str] = []
    if _NAME.match(credential.name) is None:
        found.append("name: lower-case letters, digits and dashes, at most 63")
    if not credential.upstreams:
        found.append("upstreams: it is for none")
    if not MIN_TTL_S <= credential.ttl_s <= credential.max_ttl_s:
        found.append(f"ttl: at least {MIN_TTL_S} s and at most max_ttl")
    if credential.max_ttl_s > MAX_TTL_S:
        found.append(f"max_ttl: at most {MAX_TTL_S} s")
    if len(set(credential.scopes)) != len(credential.scopes):
        found.append("scopes: one of them stands there twice")
    found += [
        f"{key}: a secret is named by a reference (--secret {key}=file:PATH) and never given"
        for key, value in sorted(credential.settings.items())
        if isinstance(value, str) and _SECRET.search(key) and REFERENCE.match(value) is None
    ]
    return found


__all__ = ["MAX_TTL_S", "MIN_TTL_S", "REFERENCE", "Credentials"]
