"""Key sets of other issuers, remembered as long as they may be, and not a moment longer.

A set is fetched from where settings say (or where the issuer's own metadata says, if its name is
right), once for all who wait. A token that names an unknown key may cause one fetch in half a
minute, or a flood of made-up names would be a flood of fetches. An issuer that cannot be reached is
believed for a bounded while; then its tokens are refused. Below: the `Documents` port.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

from midflight.domain.errors import NoDocument
from midflight.domain.value import JSONObject, Value
from midflight.services.ports.clock import Clock
from midflight.services.ports.documents import KEY_SET_BYTES, Documents

MIN_FRESH_S = 30
MAX_FRESH_S = 3_600
DEFAULT_FRESH_S = 300
STALE_S = 3_600
"""How much longer a set is used while its issuer cannot be reached."""
REFETCH_S = 30
"""At most one fetch in this time for a key that the set does not hold."""
RETRY_S = 5
"""At most one try in this time while the issuer cannot be reached."""
DISCOVERY = "/.well-known/openid-configuration"


class KeySource(Value):
    """Where the keys of one issuer are. One of the three is given, or none for discovery.

    Attributes:
        issuer: its name, exactly as tokens say it.
        jwks_uri: where its set is, from settings.
        discovery: where its metadata is; default: `/.well-known/openid-configuration` below it.
        fixed: the set itself, for an issuer that cannot be reached (a cluster without a public
            endpoint); it changes with the settings.
        allow_private: whether it may be in a private network; an operator's word.
    """

    issuer: str
    jwks_uri: str | None = None
    discovery: str | None = None
    fixed: JSONObject | None = None
    allow_private: bool = False


class _Held:
    """What is known of one issuer. Times by the monotonic clock."""

    __slots__ = ("fetched_at", "flight", "fresh_s", "jwks", "tried_at")

    def __init__(self) -> None:
        self.jwks: JSONObject | None = None
        self.fetched_at = 0.0
        self.fresh_s = 0.0
        self.tried_at: float | None = None
        self.flight: asyncio.Task[JSONObject | NoDocument] | None = None


class KeySets:
    """The key sets of all issuers that settings name."""

    def __init__(
        self, *, documents: Documents, clock: Clock, own: Mapping[str, Documents] | None = None
    ) -> None:
        """Nothing is fetched before a token asks for it.

        `own` fetches what belongs to an issuer whose servers others would not believe.
        """
        self._documents = documents
        self._own = own or {}
        self._clock = clock
        self._held: dict[KeySource, _Held] = {}

    async def jwks(self, source: KeySource, *, kid: str) -> JSONObject:
        """The set in force for an issuer; it may lack `kid`, and then nothing verifies.

        Raises:
            NoDocument: there is none that may still be believed.
        """
        if source.fixed is not None:
            return source.fixed
        held = self._held.setdefault(source, _Held())
        jwks = self._usable(held, kid)
        if jwks is not None:
            return jwks
        if held.flight is None or held.flight.done():
            held.flight = asyncio.create_task(self._refreshed(source, held), name="key set")
        # Shielded: whoever waits may go away without taking the others' answer along.
        found = await asyncio.shield(held.flight)
        if isinstance(found, NoDocument):
            raise found.with_traceback(None)
        return found

    def lacks(self, source: KeySource, *, kid: str, since: float) -> bool:
        """Whether an issuer certainly has no such key: its set is of `since` (monotonic) or later.

        For what is refused once and never comes again: a set that was fetched just before a key was
        added does not know that key, and is not fetched again at once.
        """
        if source.fixed is not None:
            return not holds(source.fixed, kid)
        held = self._held.get(source)
        if held is None or held.jwks is None:
            return False
        return not holds(held.jwks, kid) and held.fetched_at >= since

    def forget(self, issuer: str) -> None:
        """Fetch the set of an issuer again before its next token."""
        for source in [source for source in self._held if source.issuer == issuer]:
            del self._held[source]

    def _usable(self, held: _Held, kid: str) -> JSONObject | None:
        """The set if it needs no fetch now."""
        now = self._clock.monotonic()
        since = None if held.tried_at is None else now - held.tried_at
        if held.jwks is None or since is None:
            return None
        if now - held.fetched_at < held.fresh_s:
            return held.jwks if since < REFETCH_S or holds(held.jwks, kid) else None
        return held.jwks if since < RETRY_S and self._believed(held, now) else None

    def _believed(self, held: _Held, now: float) -> bool:
        return held.jwks is not None and now - held.fetched_at < held.fresh_s + STALE_S

    async def _refreshed(self, source: KeySource, held: _Held) -> JSONObject | NoDocument:
        """The set, or why there is none: a value, since perhaps nobody is left to catch it."""
        now = self._clock.monotonic()
        if held.tried_at is not None and held.tried_at > now - RETRY_S:
            return _unreachable(source, "was tried a moment ago")
        held.tried_at = now
        try:
            jwks, max_age = await self._fetch(source)
        except NoDocument as problem:
            if held.jwks is not None and self._believed(held, self._clock.monotonic()):
                return held.jwks
            return _unreachable(source, problem.reason)
        held.jwks = jwks
        held.fetched_at = now
        age = DEFAULT_FRESH_S if max_age is None else max_age
        held.fresh_s = min(max(age, MIN_FRESH_S), MAX_FRESH_S)
        return jwks

    async def _fetch(self, source: KeySource) -> tuple[JSONObject, int | None]:
        uri = source.jwks_uri or await self._discovered(source)
        document = await self._of(source).fetch(
            uri, limit=KEY_SET_BYTES, allow_private=source.allow_private
        )
        if not isinstance(document.value.get("keys"), list):
            raise NoDocument("This is no key set.", reason="has no list of keys")
        return document.value, document.max_age_s

    def _of(self, source: KeySource) -> Documents:
        return self._own.get(source.issuer, self._documents)

    async def _discovered(self, source: KeySource) -> str:
        where = source.discovery or source.issuer.rstrip("/") + DISCOVERY
        document = await self._of(source).fetch(where, allow_private=source.allow_private)
        # OpenID Connect Discovery §4.3, RFC 8414 §3.3: exactly, or another issuer's keys get in.
        if document.value.get("issuer") != source.issuer:
            raise NoDocument("This is no metadata of it.", reason="is of another issuer")
        uri: Any = document.value.get("jwks_uri")
        if not isinstance(uri, str):
            raise NoDocument("This is no metadata of it.", reason="names no jwks_uri")
        return uri


def holds(jwks: JSONObject, kid: str) -> bool:
    """Whether a set has a key of this id."""
    keys: list[Any] = jwks["keys"]
    return any(isinstance(key, dict) and cast("JSONObject", key).get("kid") == kid for key in keys)


def _unreachable(source: KeySource, reason: str) -> NoDocument:
    return NoDocument(
        f"The keys of {source.issuer} cannot be had, so none of its tokens is believed.",
        reason=reason,
        hint="Try again; if it goes on, look at the network and at its row in midflight.toml.",
    )


__all__ = [
    "DEFAULT_FRESH_S",
    "MAX_FRESH_S",
    "MIN_FRESH_S",
    "REFETCH_S",
    "RETRY_S",
    "STALE_S",
    "KeySets",
    "KeySource",
    "holds",
]
