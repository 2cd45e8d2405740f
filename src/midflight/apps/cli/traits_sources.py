"""Where the definitions come from that traits are proposed for: the running plane, or a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from midflight.domain.errors import Misconfigured, NotFound
from midflight.domain.tool import Definition, PinnedKind
from midflight.wire.manifest import MAX_BYTES, Manifest, read_document
from midflight.wire.openapi_tools import tools_of_openapi
from midflight.wire.tools_file import tools_of_file

if TYPE_CHECKING:
    from midflight.apps.control.client import ControlClient


def served(client: ControlClient, upstream: str) -> Manifest:
    """What the upstream serves now.

    Raises:
        NotFound: no such upstream, or it serves no tools.
        Unavailable: no plane runs here, or the upstream does not answer.
    """
    listing: list[dict[str, Any]] = client.get("/v1/tools", upstream=upstream, fresh=True)
    tools = [e for e in listing if e["body"] is not None and e["kind"] == PinnedKind.TOOL.value]
    if not tools:
        raise NotFound(f"{upstream} serves no tools.", hint=f"midflight tool list {upstream}")
    return Manifest(definitions=tuple(map(_definition, tools)))


def from_file(path: Path, upstream: str, *, openapi: bool) -> Manifest:
    """What a file says.

    Raises:
        Misconfigured: it cannot be read.
        Malformed, NotFound: it is no such file, or not about this upstream.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Misconfigured(
            f"{path} cannot be read: {error.strerror}.", hint="Check the path, its owner and mode."
        ) from None
    document = read_document(raw, name=path.name)
    read = tools_of_openapi if openapi else tools_of_file
    return read(document, upstream=upstream)


def _definition(entry: dict[str, Any]) -> Definition:
    return Definition(
        upstream=entry["upstream"],
        kind=PinnedKind(entry["kind"]),
        name=entry["name"],
        body=entry["body"],
    )


__all__ = ["from_file", "served"]
