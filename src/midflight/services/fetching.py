"""Fetching what an upstream serves: all pages of its lists, through the upstream port.

These are Midflight's own requests, in the catalogue's seat: no workload stands behind them, and no
run's data is in them. Bounded, since an upstream may be hostile.
"""

from __future__ import annotations

from typing import Any, cast

from midflight.domain.action import Action, ActionKind
from midflight.domain.errors import Conflict, UpstreamBroken
from midflight.domain.tool import Definition, PinnedKind
from midflight.domain.value import JSONObject
from midflight.services.ports.injection import NOTHING, Attachment
from midflight.services.ports.upstream import (
    CATALOGUE_SEAT,
    ClientRequest,
    Flight,
    OnCut,
    ServerInfo,
    Upstream,
)

MAX_PAGES = 100
MAX_DEFINITIONS = 10_000
MAX_BYTES = 32 * 1024 * 1024
"""Of one list, all its pages together: the catalogue keeps it."""

MAX_NAME = 512

# capability that announces the list, method, member of the result, member that names an entry
_LISTS = (
    ("tools", "tools/list", "tools", "name", PinnedKind.TOOL),
    ("prompts", "prompts/list", "prompts", "name", PinnedKind.PROMPT),
    (
        "resources",
        "resources/templates/list",
        "resourceTemplates",
        "uriTemplate",
        PinnedKind.TEMPLATE,
    ),
)


class CatalogueFlight:
    """A flight that nothing cuts: the catalogue's own requests end with their time-out."""

    def look(self) -> None:
        """Nothing to look at."""

    def on_cut(self, cut: OnCut) -> None:
        """Nobody cuts it."""

    def left(self, nbytes: int) -> None:
        """Not counted."""

    def came(self, nbytes: int) -> None:
        """Not counted."""


class CatalogueSink:
    """Nobody: notifications are dropped, questions are declined."""

    capabilities: JSONObject = CATALOGUE_SEAT.capabilities
    takes_input_required = False

    async def notify(self, method: str, params: JSONObject) -> None:
        """Drop it."""

    async def ask(self, request: ClientRequest) -> JSONObject:
        """Decline."""
        raise Conflict(f"Midflight's own requests answer no {request.method}.")


async def fetch_definitions(
    upstream: Upstream,
    info: ServerInfo,
    *,
    attachment: Attachment = NOTHING,
    flight: Flight | None = None,
) -> list[Definition]:
    """Everything the upstream serves that can be pinned, asked with what is attached.

    Raises:
        UpstreamUnavailable, UpstreamBroken: it does not answer, or not in the protocol's form.
    """
    found: list[Definition] = []
    for capability, method, member, naming, kind in _LISTS:
        if capability in info.capabilities:
            entries = await _fetch_list(
                upstream, method, member, attachment=attachment, flight=flight or CatalogueFlight()
            )
            found.extend(_definition(upstream.name, kind, naming, entry) for entry in entries)
    if info.instructions:
        body: JSONObject = {"instructions": info.instructions}
        found.append(
            Definition(
                upstream=upstream.name,
                kind=PinnedKind.INSTRUCTIONS,
                name="instructions",
                body=body,
            )
        )
    seen: set[tuple[PinnedKind, str]] = set()
    for definition in found:
        if (definition.kind, definition.name) in seen:
            raise UpstreamBroken(
                f"{upstream.name} serves two of kind {definition.kind.value} under one name."
            )
        seen.add((definition.kind, definition.name))
    return found


async def _fetch_list(
    upstream: Upstream, method: str, member: str, *, attachment: Attachment, flight: Flight
) -> list[JSONObject]:
    entries: list[JSONObject] = []
    cursor: str | None = None
    size = 0
    for _ in range(MAX_PAGES):
        reply = await upstream.call(
            Action(
                kind=ActionKind.LIST,
                upstream=upstream.name,
                name=method,
                method=method,
                params={} if cursor is None else {"cursor": cursor},
            ),
            seat=CATALOGUE_SEAT,
            flight=flight,
            sink=CatalogueSink(),
            attachment=attachment,
        )
        if reply.result is None:
            if method == "resources/templates/list" and (reply.error or {}).get("code") == -32601:
                return []  # a server may have resources and no templates
            raise UpstreamBroken(f"{upstream.name} refused {method}.")
        page = reply.result.get(member)
        if type(page) is not list or any(type(e) is not dict for e in cast("list[Any]", page)):
            raise UpstreamBroken(f"{upstream.name} answered {method} without a list of {member}.")
        size += reply.bytes_in
        if size > MAX_BYTES:
            raise UpstreamBroken(f"{upstream.name} serves more than {MAX_BYTES} bytes of {member}.")
        entries.extend(cast("list[JSONObject]", page))
        cursor = reply.result.get("nextCursor")
        if not isinstance(cursor, str) or not cursor:
            return entries
        if len(entries) > MAX_DEFINITIONS:
            break
    raise UpstreamBroken(f"{upstream.name} serves more {member} than {MAX_DEFINITIONS}.")


def _definition(upstream: str, kind: PinnedKind, naming: str, entry: JSONObject) -> Definition:
    name = entry.get(naming)
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
        raise UpstreamBroken(f"{upstream} serves a {kind.value} without a usable {naming}.")
    return Definition(upstream=upstream, kind=kind, name=name, body=entry)


__all__ = ["CatalogueFlight", "CatalogueSink", "fetch_definitions"]
