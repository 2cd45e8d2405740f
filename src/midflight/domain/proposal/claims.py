"""Claims: what an upstream says about its own tool: the annotations of MCP, the method of HTTP.

An upstream that lies gains nothing by a claim: what would lower protection is taken out before
anything else reads the definition, what raises it is kept, and what contradicts a person's review
is said to that person. Source: MCP 2025-06-18, ToolAnnotations ("hints ... untrusted").
"""

from __future__ import annotations

from typing import cast

import msgspec

from midflight.domain.tool import Definition
from midflight.domain.traits import Effect, Reach, Traits
from midflight.domain.value import JSONObject, Value

ANNOTATIONS = "annotations"
META = "_meta"
OPENAPI = "dev.midflight/openapi"
"""Where `wire/openapi_tools.py` puts what is known of the HTTP operation behind a tool."""

# The value of each hint that says a tool does less than another value would say.
_LOWERING = {
    "readOnlyHint": True,
    "destructiveHint": False,
    "idempotentHint": True,
    "openWorldHint": False,
}


# RFC 9110, 9.2.1: the other methods are not safe. GET says nothing: many tools change with it.
_CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Claims(Value):
    """The hints that are there and are booleans; None where there is none.

    `method` is the HTTP method behind the tool if that is one which changes something.
    """

    read_only: bool | None = None
    destructive: bool | None = None
    open_world: bool | None = None
    method: str = ""

    @property
    def changes(self) -> bool:
        """Whether anything says that it changes something."""
        return self.read_only is False or self.destructive is True or bool(self.method)

    @property
    def destroys(self) -> bool:
        """Whether anything says that it destroys something."""
        return self.destructive is True or self.method == "DELETE"


def claims(body: JSONObject) -> Claims:
    """What a definition says about itself. Anything that is not a boolean says nothing."""
    given = _object(body, ANNOTATIONS)
    method = _object(_object(body, META), OPENAPI).get("method")

    def hint(name: str) -> bool | None:
        value = given.get(name)
        return value if type(value) is bool else None

    return Claims(
        read_only=hint("readOnlyHint"),
        # MCP gives it a meaning only for what does not call itself a read.
        destructive=None if given.get("readOnlyHint") is True else hint("destructiveHint"),
        open_world=hint("openWorldHint"),
        method=method if type(method) is str and method in _CHANGING else "",
    )


def without_lowering(definition: Definition) -> Definition:
    """The definition without any claim that could lower protection."""
    # A title is a second name, which the upstream is as free to make up as the hints.
    body = {name: value for name, value in definition.body.items() if name != "title"}
    hints = _object(body, ANNOTATIONS)
    kept = {name: hints[name] for name in hints if not _lowers(name, hints[name])}
    if claims(body).destructive is None:
        kept.pop("destructiveHint", None)
    body[ANNOTATIONS] = kept
    meta = _object(body, META)
    http = _object(meta, OPENAPI)
    if not claims(body).method:
        http = {name: value for name, value in http.items() if name != "method"}
    body[META] = {**meta, OPENAPI: http}
    return msgspec.structs.replace(definition, body=body)


def raised(traits: Traits, said: Claims) -> Traits:
    """Traits with what the claims add to them: never a lesser effect, never a closer reach."""
    effect, reach = traits.effect, traits.reach
    if effect is Effect.READ and said.changes:
        effect = Effect.DELETE if said.destroys else Effect.WRITE
    if said.open_world is True:
        reach = Reach.OPEN
    return msgspec.structs.replace(traits, effect=effect, reach=reach)


def contradictions(body: JSONObject, traits: Traits) -> tuple[str, ...]:
    """What the upstream says of a tool that is worse than what its traits say; one sentence each.

    What is said by a person counts. But a person who was told less than the upstream itself admits
    should look again.
    """
    said = claims(body)
    found: list[str] = []
    if traits.effect is Effect.READ and said.changes:
        what = "destroys" if said.destroys else "changes"
        found.append(
            f"it says of itself that it {what} something, and its traits say it only reads"
        )
    if traits.reach is Reach.CLOSED and said.open_world is True:
        found.append("it says of itself that it reaches the open world, and its traits say closed")
    return tuple(found)


def _object(body: JSONObject, name: str) -> JSONObject:
    given = body.get(name)
    return cast("JSONObject", given) if type(given) is dict else {}


def _lowers(name: str, value: object) -> bool:
    if name == "title":
        return True
    return name in _LOWERING and value is not (not _LOWERING[name])


__all__ = [
    "ANNOTATIONS",
    "META",
    "OPENAPI",
    "Claims",
    "claims",
    "contradictions",
    "raised",
    "without_lowering",
]
