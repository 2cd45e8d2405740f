"""What of an MCP result is data, and what of it may be taken as the upstream's own word.

Below: `domain/flow/`, `flow_marks.py`. Above: `flow.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, cast

import msgspec

from midflight.domain.action import Action
from midflight.domain.flow import fields
from midflight.domain.flow.atoms import Shape, grouped, looks, same, shape, tokens
from midflight.domain.flow.fields import Leaf
from midflight.domain.flow.index import SHORT
from midflight.domain.traits import FieldKind
from midflight.domain.value import JSON, JSONObject
from midflight.services.flow_marks import WHOLE

# See `atoms.py`: members of an enum by name are slow.
_WORD, _NUMBER, _LINK, _BY_TEXT = Shape.WORD, Shape.NUMBER, Shape.LINK, FieldKind.TEXT
_DATA = ("content", "contents", "messages")
_APART = frozenset({"structuredContent", "isError", *_DATA})
_ID = re.compile(r"(?:^|_)(?:id|ids|uuid|key|number)$")


def result_values(result: JSONObject) -> Sequence[JSON]:
    """What of an MCP result is data: the structured content, and texts that say something else."""
    structured = result.get("structuredContent")
    texts: list[Any] = [structured] if structured is not None else []
    for name in _DATA:
        blocks = result.get(name)
        if isinstance(blocks, list):
            for block in cast("list[Any]", blocks):
                texts += _block(block, structured)
    # What an upstream says beside its result, hosts may show to their agents all the same.
    rest = {k: v for k, v in result.items() if k not in _APART and v not in ({}, [])}
    found = [text for text in texts if text not in ("", None)]
    if rest:
        found.append(rest)
    return found


def _block(block: Any, structured: JSON) -> list[Any]:
    """What a content block says; nothing if it only repeats the structured content."""
    if not isinstance(block, dict):
        return [block]
    inner = cast("JSONObject", block)
    text = inner.get("text")
    if inner.get("type") == "text" and isinstance(text, str):
        beside = {k: v for k, v in inner.items() if k not in ("type", "text")}
        said = "" if structured is not None and _repeats(text, structured) else text
        return [said, beside] if beside else [said]
    silent = ("type", "data", "blob", "mimeType")
    return [{k: v for k, v in inner.items() if k not in silent} or ""]


def _repeats(text: str, structured: JSON) -> bool:
    # Compared and not assumed: a server may say one thing to the model and another to a schema.
    said = fields.document(text)
    inner = structured.get("result") if isinstance(structured, dict) else None
    return (said is not None and said in (structured, inner)) or text == inner


def answered(action: Action) -> JSONObject:
    """What of an answer are values: not the protocol's own words around them."""
    content = action.arguments.get("content")
    if action.name == "elicitation/create":
        return cast("JSONObject", content) if isinstance(content, dict) else {}
    if action.name == "sampling/createMessage":
        blocks = cast("list[Any]", content) if isinstance(content, list) else [content]
        return {"text": [said for block in blocks for said in _block(block, None)]}
    return action.arguments


def unechoed(found: Sequence[Leaf], given: Sequence[str]) -> Iterator[Leaf]:
    """What a tool says about an effect without what it was given: an echo vouches for nothing.

    Compared in the forms of `atoms.py`, or a slug or a status line would turn what the model made
    up into a field of the upstream. Words of others stay: they only taint.
    """
    bare = [text.strip() for text in given]
    whole = {form for text in bare for form in _forms(text, shape(text))}
    pieces = {
        form
        for text in given
        for token in (*tokens(text), *grouped(text))
        if (kind := shape(token)) is not _WORD and not (kind is _NUMBER and len(token) < SHORT)
        for form in _forms(token, kind)
    }
    for leaf in found:
        forms = _forms(leaf.text.strip(), leaf.shape)
        if not whole.isdisjoint(forms):
            continue
        if leaf.kind is _BY_TEXT or not pieces:
            yield leaf
            continue
        if not pieces.isdisjoint(forms):
            continue
        held = tokens(leaf.text)
        kept = [token for token in held if pieces.isdisjoint(_forms(token, shape(token)))]
        if " " not in leaf.text or len(kept) == len(held):
            yield leaf
        elif kept:
            text = " ".join(kept)
            looks_like = shape(text)
            yield msgspec.structs.replace(
                leaf, text=text, shape=looks_like, exact=same(text, looks_like)
            )


def _forms(text: str, found: Shape) -> tuple[str, ...]:
    """The forms of a text of that shape; for most there is one."""
    exact = same(text, found)
    return (exact,) if text.isascii() and found is not _LINK else (exact, looks(text, found))


def tainted(leaf: Leaf, marked: frozenset[int]) -> Leaf:
    """A value of a record that an untrusted run wrote: somebody's words, but for its id."""
    if WHOLE not in marked and marked.isdisjoint(leaf.records):
        return leaf
    if leaf.kind in (FieldKind.SYSTEM, FieldKind.OWN) and names_id(leaf.name):
        return leaf
    return msgspec.structs.replace(leaf, kind=FieldKind.TEXT)


def names_id(name: str) -> bool:
    """Whether a field of this name holds what its upstream calls the thing."""
    return _ID.search(fields.words_of(name)) is not None


__all__ = ["answered", "names_id", "result_values", "tainted", "unechoed"]
