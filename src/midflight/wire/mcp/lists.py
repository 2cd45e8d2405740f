"""Names on the aggregate endpoint: who is meant when several upstreams are listed together.

A name stays as it is while one upstream alone has it; colliding names become
`<upstream>__<name>`. No upstream can capture what belongs to another by how it names its own:
whatever would be ambiguous is prefixed or refused, never resolved by order.

Give every upstream's last known names, also while it is away: an upstream that is forgotten leaves
its names to whoever takes them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from midflight.domain.errors import Misconfigured
from midflight.wire.malformed import INVALID_PARAMS, MalformedMessage

SEPARATOR: Final = "__"


class Names:
    """Exposed names of one kind (tools or prompts), both ways. Immutable once made."""

    def __init__(self, offered: Mapping[str, Collection[str]]) -> None:
        """`offered` maps upstreams to the names they serve.

        Raises:
            Misconfigured: the name of an upstream would make prefixes ambiguous.
        """
        bad = [u for u in offered if SEPARATOR in u or u.endswith("_") or not u]
        if bad:
            raise Misconfigured(
                "Some upstreams cannot be served together under their names.",
                [f"{u!r} holds {SEPARATOR!r}, ends with '_' or is empty" for u in bad],
                hint="Rename them in the settings.",
            )
        self._exposed = _exposed(offered)
        self._owners = {shown: owner for owner, shown in self._exposed.items()}

    def exposed(self, upstream: str, name: str) -> str | None:
        """What clients of the aggregate call it; None if the upstream does not offer it."""
        return self._exposed.get((upstream, name))

    def owner(self, shown: str) -> tuple[str, str] | None:
        """(upstream, its own name) of an exposed name; None if there is none."""
        return self._owners.get(shown)

    def __len__(self) -> int:
        return len(self._exposed)


class Resources:
    """Which upstream a resource URI belongs to on the aggregate endpoint."""

    def __init__(
        self, uris: Mapping[str, Collection[str]], templates: Mapping[str, Collection[str]]
    ) -> None:
        """`uris` and `templates` (RFC 6570) map upstreams to what they list."""
        self._uris = {upstream: frozenset(listed) for upstream, listed in uris.items()}
        # The literal text before the first and behind the last expression. Matching all of a
        # template would let a hostile one take exponential time; this claims more, never less.
        self._templates = {
            upstream: tuple(_ends(template) for template in listed)
            for upstream, listed in templates.items()
        }

    def owner(self, uri: str) -> str:
        """The only upstream that the URI can belong to.

        Raises:
            MalformedMessage: -32602, none or several could serve it.
        """
        claims = sorted(
            {u for u, listed in self._uris.items() if uri in listed}
            | {u for u, ends in self._templates.items() if any(_fits(uri, e) for e in ends)}
        )
        match claims:
            case [upstream]:
                return upstream
            case []:
                raise MalformedMessage(
                    "No upstream lists this resource.",
                    hint="List the resources again, or read it at /mcp/<upstream>.",
                    rpc_code=INVALID_PARAMS,
                    data={"uri": uri},
                )
            case _:
                raise MalformedMessage(
                    "Several upstreams could serve this resource.",
                    hint="Read it at one of "
                    + ", ".join(f"/mcp/{upstream}" for upstream in claims)
                    + ".",
                    rpc_code=INVALID_PARAMS,
                    data={"uri": uri, "upstreams": list(claims)},
                )


def could_be(uri: str, template: str) -> bool:
    """Whether a URI can come from an RFC 6570 template, by its literal ends.

    Matching all of a template takes time that grows with the power of its expressions, and both it
    and the URI may be hostile. This claims more, never less.
    """
    return _fits(uri, _ends(template))


def _exposed(offered: Mapping[str, Collection[str]]) -> dict[tuple[str, str], str]:
    shown = {(u, name): name for u in sorted(offered) for name in sorted(set(offered[u]))}
    while True:
        holders: dict[str, list[tuple[str, str]]] = {}
        for owner, name in shown.items():
            holders.setdefault(name, []).append(owner)
        # Prefixed names are distinct among themselves (upstream names hold no separator), so
        # each round prefixes at least one more name, and the last round finds none.
        contested = [
            owner
            for owners in holders.values()
            if len(owners) > 1
            for owner in owners
            if shown[owner] == owner[1]
        ]
        if not contested:
            return shown
        for upstream, name in contested:
            shown[upstream, name] = f"{upstream}{SEPARATOR}{name}"


def _ends(template: str) -> tuple[str, str | None]:
    before, expression, rest = template.partition("{")
    return before, rest.rpartition("}")[2] if expression else None


def _fits(uri: str, ends: tuple[str, str | None]) -> bool:
    before, behind = ends
    if behind is None:
        return uri == before
    return len(uri) >= len(before) + len(behind) and uri.startswith(before) and uri.endswith(behind)


__all__ = ["SEPARATOR", "Names", "Resources", "could_be"]
