"""Tokens at OpenBao that were made for leases: found again by a mark, ended by their accessor.

An accessor is no secret. OpenBao lists accessors without saying whose they are, so each new one is
looked up once and remembered. Above: `openbao.py`. Below: `openbao_session.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from midflight.adapters.credentials.calls import failure, member, texts
from midflight.adapters.credentials.openbao_session import NAMED, OpenBaoSession, says
from midflight.domain.lease import NAME_PREFIX

_NAME, _INSTALLATION = "midflight_lease", "midflight_installation"


class LeaseTokens:
    """Accessors at one server, and the external names that their tokens are marked with."""

    def __init__(self, session: OpenBaoSession, *, installation: str) -> None:
        """`installation` tells the tokens of one Midflight from those of another."""
        self._session, self._installation = session, installation
        # Of every accessor seen; empty for tokens of others.
        self._names: dict[str, str] = {}

    def marks(self, name: str) -> dict[str, str]:
        """Metadata of a token that is made for a lease of this external name."""
        return {_NAME: name, _INSTALLATION: self._installation}

    def made(self, accessor: str, name: str) -> None:
        """Remember a token that was made here."""
        self._names[accessor] = name

    async def named(self) -> Mapping[str, str]:
        """Accessors to external names, of all marked tokens that exist now."""
        answer = await self._session.ask("GET", "auth/token/accessors?list=true", again=True)
        if answer.status != 200:
            raise failure(
                NAMED,
                "the listing of tokens",
                answer.status,
                hint="Allow list and sudo on auth/token/accessors.",
            )
        present = texts(member(answer.json(), "data"), "keys")
        # Others list at the same time: what this list has found is in nobody else's hands. What is
        # learned is remembered at once, since a look at many tokens may be cut off in between.
        found: dict[str, str] = {}
        for accessor in present:
            name = self._names.get(accessor)
            if name is None:
                name = self._names[accessor] = await self._name(accessor)
            found[accessor] = name
        there = set(present)
        for accessor in [each for each in self._names if each not in there]:
            # Made after the list, or gone: looked at again, or never asked for any more.
            del self._names[accessor]
        return {accessor: name for accessor, name in found.items() if name}

    async def _name(self, accessor: str) -> str:
        answer = await self._session.ask(
            "POST", "auth/token/lookup-accessor", {"accessor": accessor}, again=True
        )
        if answer.status in {400, 403, 404} and says(answer, "invalid accessor"):
            return ""  # ended between the list and this look
        if answer.status != 200:
            raise failure(NAMED, "the look at a token", answer.status)
        marks = member(member(answer.json(), "data"), "meta")
        name = marks.get(_NAME)
        ours = marks.get(_INSTALLATION, "") == self._installation
        return name if ours and isinstance(name, str) and name.startswith(NAME_PREFIX) else ""

    async def end(self, accessor: str) -> None:
        """End one token and what hangs under it. That it is gone already is success."""
        answer = await self._session.ask(
            "POST", "auth/token/revoke-accessor", {"accessor": accessor}, again=True
        )
        gone = answer.status in {200, 204} or says(answer, "invalid accessor")
        if not gone:
            raise failure(NAMED, "the revoking of a token", answer.status)
        self._names.pop(accessor, None)


__all__ = ["LeaseTokens"]
