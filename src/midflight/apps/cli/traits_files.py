"""Where the traits file of an upstream is, what stands in it, and what a proposal makes of it.

A proposal never takes away what a person has said: a review of the very definition that is proposed
for stays as it is, and so does one of a tool that is not served now.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from midflight.apps.cli.private_file import write_whole
from midflight.domain.errors import Conflict, Malformed, Misconfigured, NotFound
from midflight.domain.proposal import Evidence, Proposal, Sureness
from midflight.domain.reviews import Review, Reviews, proposed
from midflight.domain.tool import Definition
from midflight.domain.value import Value
from midflight.wire.traits_file import MAX_BYTES, parse, render

if TYPE_CHECKING:
    from midflight.apps.cli.session import Session

_UPSTREAM = re.compile(r"[a-z0-9-]{1,32}\Z")


class Proposed(Value):
    """A file as it will be written.

    Attributes:
        reviews: every tool, in order.
        notes: the evidence for each that is proposed.
        kept: names of the tools whose review stays.
    """

    reviews: Reviews
    notes: dict[str, tuple[Evidence, ...]]
    kept: frozenset[str]


def file_of(session: Session, upstream: str) -> Path:
    """The configured traits file of an upstream.

    Raises:
        Malformed: a name that no upstream has, and that could lead out of the directory.
    """
    from midflight.apps import settings_file

    if _UPSTREAM.match(upstream) is None:
        raise Malformed(
            f"{upstream!r} is not the name of an upstream.",
            hint="It is 1 to 32 lower-case letters, digits and dashes.",
        )
    return settings_file.traits_directory(session.settings_file()) / f"{upstream}.toml"


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        NotFound: there is none.
        Misconfigured: it cannot be read.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise Misconfigured(f"{path} is larger than {MAX_BYTES:,} bytes.")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(
            f"There is no traits file at {path}.",
            hint="`midflight traits propose UPSTREAM` writes one.",
        ) from None
    except OSError as error:
        raise Misconfigured(
            f"{path} cannot be read: {error.strerror}.", hint="Check its owner and mode."
        ) from None
    except UnicodeDecodeError:
        raise Misconfigured(f"{path} is not UTF-8 text.") from None


def read_reviews(path: Path, upstream: str) -> Reviews:
    """The reviews in a file.

    Raises:
        NotFound, Misconfigured: as for `read_text`, and with every problem in it.
        Conflict: it is about another upstream.
    """
    reviews = parse(read_text(path), name=path.name)
    if reviews.upstream != upstream:
        raise Conflict(
            f"{path} is about the upstream {reviews.upstream!r}, not {upstream!r}.",
            hint="A digest holds for one upstream; propose traits for the other.",
        )
    return reviews


def read_if_there(path: Path, upstream: str) -> Reviews | None:
    """`read_reviews`, or None if there is no file."""
    try:
        return read_reviews(path, upstream)
    except NotFound:
        return None


def write_reviews(path: Path, made: Proposed) -> None:
    """Write a file as a whole, and its directory if need be.

    Raises:
        Misconfigured: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured(
            f"{path.parent} cannot be made: {error.strerror}.", hint="Name a file with --out."
        ) from None
    # Not private: it holds no secret, and the people who review it have to read it.
    write_whole(path, render(made.reviews, made.notes), mode=0o644)


def merged(
    upstream: str, proposals: Iterable[tuple[Definition, Proposal]], before: Reviews | None
) -> Proposed:
    """Proposals, with the reviews of the earlier file where they hold."""
    earlier: Mapping[str, Review] = {r.name: r for r in before.tools} if before else {}
    reviews: list[Review] = []
    notes: dict[str, tuple[Evidence, ...]] = {}
    kept: set[str] = set()
    for definition, proposal in proposals:
        digest, old = definition.digest(), earlier.get(definition.name)
        if old is not None and old.holds(digest):
            reviews.append(old)
            kept.add(old.name)
            continue
        reviews.append(proposed(definition.name, digest, proposal.traits))
        notes[definition.name] = (*_changed(old), *proposal.evidence)
    served = {review.name for review in reviews}
    away = [old for old in earlier.values() if old.reviewed and old.name not in served]
    return Proposed(
        reviews=Reviews(upstream=upstream, tools=(*reviews, *away)),
        notes=notes,
        kept=frozenset(kept | {old.name for old in away}),
    )


def _changed(old: Review | None) -> Sequence[Evidence]:
    if old is None or not old.reviewed:
        return ()
    traits = old.traits
    return (
        Evidence(
            about="review",
            says=f"was {traits.effect.value}, {traits.reach.value} for {old.digest[:12]}",
            why="the definition has changed since a person reviewed it",
            sure=Sureness.HIGH,
            confirm=True,
        ),
    )


__all__ = [
    "Proposed",
    "file_of",
    "merged",
    "read_if_there",
    "read_reviews",
    "read_text",
    "write_reviews",
]
