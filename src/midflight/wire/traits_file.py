"""The traits file: one TOML file per upstream, which a person reviews and a plane pins by.

Written in one form, so that a difference of two files is a difference of what they say; read
strictly, with every problem at once: a misspelt protection is not a missing one. Comments carry the
evidence of a proposal and are not read back. Below: `toml.py`, the values of `domain/reviews.py`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence

from midflight.domain.errors import Misconfigured
from midflight.domain.labels import Confidentiality
from midflight.domain.proposal import Evidence
from midflight.domain.reviews import Review, Reviews
from midflight.domain.traits import Yield
from midflight.wire.toml import TomlPath, array, comment, key, lines_of, quoted
from midflight.wire.traits_reading import read_reviews

FORMAT = 1
MAX_BYTES = 4_194_304
MAX_COMMENT = 240

_HEAD = """\
# Traits of an upstream's tools: what they can do, what their arguments are for, and whose words
# their results hold. An entry counts once a person has set `reviewed = true`, and only for the
# definition with this digest. `midflight traits check` reads this file, `midflight traits apply`
# pins by it.
"""


def render(reviews: Reviews, notes: Mapping[str, Sequence[Evidence]] | None = None) -> str:
    """The file. `notes` are written as comments above the tools they are about.

    Raises:
        ValueError: a name with a lone surrogate, which no strict decoder lets through.
    """
    parts = [_HEAD, f"format = {FORMAT}\nupstream = {quoted(reviews.upstream)}\n"]
    for review in reviews.tools:
        about = notes.get(review.name, ()) if notes else ()
        parts.append("\n".join([*map(_remark, about), *_entry(review)]) + "\n")
    return "\n".join(parts)


def parse(text: str, *, name: str) -> Reviews:
    """Read a file; `name` is how errors call it.

    Raises:
        Misconfigured: with every problem, each with its line.
    """
    if len(text) > MAX_BYTES:
        raise Misconfigured(f"{name} is larger than {MAX_BYTES:,} characters.")
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        # tomllib's message names line and column and does not repeat the text.
        why = str(error) if isinstance(error, tomllib.TOMLDecodeError) else "it nests too deep"
        raise Misconfigured(f"{name} is not TOML: {why}.") from None
    problems: list[tuple[TomlPath, str]] = []
    reviews = read_reviews(document, problems, of_format=FORMAT)
    if problems:
        lines = lines_of(text)
        told = [f"{_place(at, lines, name)}: {what}" for at, what in problems]
        raise Misconfigured(
            f"{name} has {len(told)} problem{'s' if len(told) > 1 else ''}:",
            told,
            hint="Nothing of it was used. `midflight traits propose` writes such a file.",
        )
    return reviews


def _remark(evidence: Evidence) -> str:
    confirm = "; confirm it" if evidence.confirm else ""
    text = f"{evidence.about}: {evidence.says} ({evidence.why}; {evidence.sure.value}{confirm})"
    return comment(text if len(text) <= MAX_COMMENT else f"{text[:MAX_COMMENT]} ...")


def _entry(review: Review) -> Iterator[str]:
    traits = review.traits
    table = f"tool.{key(review.name)}"
    yield f"[{table}]"
    yield f"digest = {quoted(review.digest)}"
    yield f"reviewed = {_boolean(review.reviewed)}"
    yield f"effect = {quoted(traits.effect.value)}"
    yield f"reach = {quoted(traits.reach.value)}"
    yield f"first_party = {_boolean(traits.first_party)}"
    yield f"persists = {_boolean(traits.persists)}"
    if traits.arguments:
        yield f"\n[{table}.arguments]"
        for argument in traits.arguments:
            yield f"{key(argument.path)} = {quoted(argument.role.value)}"
    for found in traits.yields:
        yield f"\n[[{table}.yields]]"
        yield from _yield(found)


def _yield(found: Yield) -> Iterator[str]:
    yield f"path = {quoted(found.path)}"
    yield f"kind = {quoted(found.kind.value)}"
    if found.confidentiality is not Confidentiality.PUBLIC:
        yield f"confidentiality = {quoted(found.confidentiality.name.lower())}"
    if found.compartments:
        yield f"compartments = {array(sorted(found.compartments))}"
    if found.unless_field:
        yield f"unless_field = {quoted(found.unless_field)}"
    if found.domains:
        yield f"domains = {array(sorted(found.domains))}"


def _boolean(value: bool) -> str:
    return "true" if value else "false"


def _place(path: TomlPath, lines: dict[TomlPath, int], name: str) -> str:
    dotted = "".join(f"[{p}]" if isinstance(p, int) else f".{key(p)}" for p in path)
    for end in range(len(path), 0, -1):
        if path[:end] in lines:
            return f"{name}:{lines[path[:end]]}: {dotted.removeprefix('.')}"
    return f"{name}: {dotted.removeprefix('.')}" if path else name


__all__ = ["FORMAT", "MAX_BYTES", "parse", "render"]
