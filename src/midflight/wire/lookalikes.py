"""Member names that some parsers take for others.

Go's encoding/json matches members without case and by Unicode folding (`taſkId` is `taskId` to
it), and the last one wins; so a judge that sees `name` and a server that sees `Name` run different
tools. Where the set of members is known, what merely looks like one of them is refused.
"""

from __future__ import annotations

import functools
import unicodedata
from typing import Any, cast

from midflight.domain.value import JSON


def folded(name: str) -> str:
    """The form in which two names that any common parser confuses are equal."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def lookalike(name: str, known: frozenset[str]) -> str | None:
    """The known name that `name` could be taken for without being it, or None."""
    return None if name in known else _forms(known).get(folded(name))


@functools.lru_cache(maxsize=64)
def _forms(known: frozenset[str]) -> dict[str, str]:
    # Once for each set: a message may have hundreds of thousands of members to compare with it.
    return {folded(name): name for name in known}


def ambiguous_argument(arguments: dict[str, Any], input_schema: JSON) -> str | None:
    """Say which argument a case-folding server could take for another one; None if there is none.

    Two members of one object that fold alike, or one that folds to a property which the schema
    declares and is spelled otherwise. Follows `properties` of objects as deep as they are declared;
    maps without declared properties (headers, environments) may hold whatever they hold.
    """
    pending: list[tuple[str, Any, Any]] = [("", arguments, input_schema)]
    while pending:
        path, value, schema = pending.pop()
        if type(value) is not dict or type(schema) is not dict:
            continue
        declared = cast("dict[str, Any]", schema).get("properties")
        if type(declared) is not dict or not declared:
            continue
        properties = cast("dict[str, Any]", declared)
        members = cast("dict[str, Any]", value)
        if not members.keys() <= properties.keys():
            forms = {folded(name): name for name in properties}
            for name in members:
                known = forms.get(folded(name))
                if known is not None and name not in properties:
                    return f"{path}{name} could be taken for {path}{known}"
        pending += [
            (f"{path}{name}.", item, properties.get(name))
            for name, item in members.items()
            if type(item) is dict
        ]
    return None


__all__ = ["ambiguous_argument", "folded", "lookalike"]
