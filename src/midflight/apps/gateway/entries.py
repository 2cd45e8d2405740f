"""Entries of lists: definitions as clients of one generation are shown them.

What an entry says depends on what is served and not on who asks, so the entries of an upstream are
made once for each change of the catalogue. Who may see which is `services/listing.py`'s to say.
Above: `endpoint.py`. Below: `routing.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from midflight.apps.gateway.routing import Routes
from midflight.domain.tool import Definition, PinnedKind
from midflight.domain.value import JSONObject
from midflight.services.catalogue import Catalogue
from midflight.wire.mcp import headers, translate


class Entries:
    """The entries of one endpoint."""

    def __init__(self, routes: Routes, catalogue: Catalogue) -> None:
        """Shares both with the endpoint."""
        self._routes = routes
        self._catalogue = catalogue
        self._generation = -1
        self._made: dict[tuple[str, PinnedKind, bool, bool], Mapping[str, JSONObject]] = {}

    def of(self, upstream: str, kind: PinnedKind, *, modern: bool) -> Mapping[str, JSONObject]:
        """By their names at the upstream, all that clients of the generation can be shown."""
        if self._generation != self._catalogue.generation:
            self._generation = self._catalogue.generation
            self._made.clear()
        info = self._catalogue.info(upstream)
        across = modern and info is not None and not info.modern
        key = (upstream, kind, modern, across)
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = {
                definition.name: self._routes.expose(definition)
                for definition in self._catalogue.definitions(upstream, kind)
                if kind is not PinnedKind.TOOL or _is_for(definition, modern=modern, across=across)
            }
        return made


def _is_for(tool: Definition, *, modern: bool, across: bool) -> bool:
    """Whether a tool is listed to clients of a generation; `across` from the other one."""
    if modern and headers.valid_param_headers(tool.body.get("inputSchema")) is not None:
        return False  # the specification has clients exclude such a tool; so do we
    # Some are callable only as a task of the other generation's form.
    return not (across and translate.needs_task(tool.body))


__all__ = ["Entries"]
