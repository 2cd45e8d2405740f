"""The tools behind recorded runs, and what their traits are taken to be.

A manifest is a JSON object: upstream to the list of tools as MCP's `tools/list` gives them. Traits
come from a reviewed file, or are proposed from the manifest alone: then no person has looked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from midflight.domain.errors import Misconfigured
from midflight.domain.proposal import propose
from midflight.domain.reviews import Review, Reviews
from midflight.domain.tool import Definition, PinnedKind
from midflight.domain.traits import Traits
from midflight.domain.value import JSONObject
from midflight.wire.traits_file import parse

Manifest = Mapping[str, Sequence[JSONObject]]
TraitsOf = Mapping[tuple[str, str], Traits]

_NO_NAME = re.compile(r"[^a-z0-9]+")
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
    that nobody has reviewed. A recorded upstream may have a name that no settings could give it;
    files know it by the one that they could, `Desk_API` as `desk-api`.

    Raises:
        Misconfigured: a file cannot be read, says what traits cannot, or is about an upstream that
            the manifest does not have, or has twice.
    """
    reviews: dict[tuple[str, str], Review] = {}
    known = [_in_files(upstream) for upstream in manifest]
    for path in files:
        found = _read(path)
        if known.count(found.upstream) != 1:
            raise Misconfigured(
                f"{path} is about the upstream {found.upstream}, of which the manifest has "
                f"{known.count(found.upstream)}.",
                hint=f"Files know its upstreams as: {', '.join(sorted(known))}.",
            )
        reviews |= {(found.upstream, review.name): review for review in found.tools}
    traits: dict[tuple[str, str], Traits] = {}
    for upstream, tools in manifest.items():
        called = _in_files(upstream)
        for tool in tools:
            name = str(tool["name"])
            definition = Definition(upstream=called, kind=PinnedKind.TOOL, name=name, body=tool)
            review = reviews.get((called, name))
            if review is not None and review.digest == definition.digest():
                traits[upstream, name] = review.traits
            else:
                traits[upstream, name] = propose(definition).traits
    return traits


def _in_files(upstream: str) -> str:
    return _NO_NAME.sub("-", upstream.lower())


def _read(path: Path) -> Reviews:
    try:
        return parse(path.read_text(encoding="utf-8"), name=str(path))
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise Misconfigured(f"{path} is no UTF-8.") from None


__all__ = ["Manifest", "TraitsOf", "read_manifest", "traits_of"]
