"""The tools behind recorded runs, and what their traits are taken to be.

A manifest is a JSON object: upstream to the list of tools as MCP's `tools/list` gives them. Traits
come from a reviewed file, or are proposed from the manifest alone: then no person has looked.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec

from midflight.domain.errors import Misconfigured
from midflight.domain.proposal import propose
from midflight.domain.tool import Definition, PinnedKind
from midflight.domain.traits import Traits
from midflight.domain.value import JSONObject

Manifest = Mapping[str, Sequence[JSONObject]]
TraitsOf = Mapping[tuple[str, str], Traits]

_SHAPE = msgspec.json.Decoder(dict[str, list[dict[str, Any]]])


def read_manifest(path: Path) -> Manifest:
    """The tools of each upstream.

    Raises:
        Misconfigured: it cannot be read, or is no manifest.
    """
    try:
        manifest = _SHAPE.decode(path.read_bytes())
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Misconfigured(
            f"{path} is no manifest: {error}.",
            hint='It is a JSON object, {"UPSTREAM": [{"name": …, "inputSchema": …}, …], …}.',
        ) from None
    problems: list[str] = []
    for upstream, tools in manifest.items():
        names = [tool.get("name") for tool in tools]
        if any(not isinstance(name, str) or not name for name in names):
            problems.append(f"{upstream}: a tool has no name")
        elif len(set(names)) < len(names):
            problems.append(f"{upstream}: two tools have one name")
    if problems:
        raise Misconfigured(f"{path} is no manifest.", problems)
    return manifest


def traits_of(manifest: Manifest, files: Sequence[Path] = ()) -> TraitsOf:
    """The traits of every tool: as reviewed, else as proposed from its definition alone.

    A review holds for the definition whose digest it names; a tool that has changed since is one
    that nobody has reviewed.

    Raises:
        Misconfigured: a file cannot be read, or says what traits cannot.
    """
    reviews: dict[tuple[str, str], _Review] = {}
    for path in files:
        reviews |= _read(path)
    found: dict[tuple[str, str], Traits] = {}
    for upstream, tools in manifest.items():
        for tool in tools:
            name = str(tool["name"])
            definition = Definition(upstream=upstream, kind=PinnedKind.TOOL, name=name, body=tool)
            review = reviews.get((upstream, name))
            found[upstream, name] = (
                review.traits
                if review is not None and review.digest == definition.digest()
                else propose(definition).traits
            )
    return found


class _Review(NamedTuple):
    digest: str
    traits: Traits


def _read(path: Path) -> dict[tuple[str, str], _Review]:
    """The reviews in one traits file, which is about one upstream."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        upstream = str(tables["upstream"])
        return {
            (upstream, name): _review(entry)
            for name, entry in cast("dict[str, dict[str, Any]]", tables["tool"]).items()
        }
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror}.") from None
    except (
        tomllib.TOMLDecodeError,
        msgspec.ValidationError,
        UnicodeDecodeError,
        AttributeError,
        KeyError,
        TypeError,
    ) as error:
        raise Misconfigured(
            f"{path} is no traits file: {error}.",
            hint="It names its upstream, and has a table [tool.NAME] for each tool.",
        ) from None


def _review(entry: dict[str, Any]) -> _Review:
    said = dict(entry)
    digest, reviewed = str(said.pop("digest")), said.pop("reviewed", False)
    roles = cast("dict[str, str]", said.pop("arguments", {}))
    said["arguments"] = [{"path": path, "role": role} for path, role in roles.items()]
    traits = msgspec.convert(said, Traits)
    return _Review(
        digest=digest,
        traits=msgspec.structs.replace(
            traits, reviewed=reviewed is True, proposed=reviewed is not True
        ),
    )


__all__ = ["Manifest", "TraitsOf", "read_manifest", "traits_of"]
