"""Proposals: whatever an upstream says of itself, it is never trusted more for having said it.

These hold for any inference rules: they are about `proposing.py` and `claims.py`.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midflight.domain.paths import argument_path, result_path
from midflight.domain.proposal import Proposal, Sureness, claims, propose, rules
from midflight.domain.reviews import Reviews, proposed
from midflight.domain.tool import Definition, PinnedKind
from midflight.domain.traits import Effect, Reach, Traits
from midflight.wire.traits_file import parse, render

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
WORDS = st.sampled_from(
    ["get", "delete", "send_mail", "listItems", "url", "to", "amount", "body", "id", "path", "ｇet"]
)
NAMES = WORDS | TEXT.filter(bool) | st.tuples(WORDS, WORDS).map("_".join)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["string", "array", "integer", "object"]) | JSON,
        "format": st.sampled_from(["email", "uri", "date-time", "uuid"]) | JSON,
        "items": st.just({"type": "string"}) | JSON,
        "description": TEXT | JSON,
        "enum": JSON,
    },
)
SCHEMAS = (
    st.fixed_dictionaries(
        {"type": st.just("object"), "properties": st.dictionaries(NAMES, FIELDS, max_size=5)}
    )
    | JSON
)
HINTS = {
    "readOnlyHint": (True, False),
    "destructiveHint": (False, True),
    "openWorldHint": (False, True),
}
"""For each hint, the value that says less and the value that says more."""
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "description": TEXT | NAMES | JSON,
        "inputSchema": SCHEMAS,
        "outputSchema": SCHEMAS,
        "annotations": st.dictionaries(st.sampled_from(list(HINTS)), st.booleans()) | JSON,
        "_meta": JSON | st.fixed_dictionaries({"dev.midflight/openapi": JSON}),
    },
)


def definition(name: str, body: dict[str, Any]) -> Definition:
    return Definition(upstream="one", kind=PinnedKind.TOOL, name=name, body={"name": name, **body})


@given(NAMES, BODIES)
def test_whatever_is_served_gets_a_proposal_that_the_file_can_hold(
    name: str, body: dict[str, Any]
) -> None:
    served = definition(name, body)
    made = propose(served)
    assert made.traits.proposed
    assert not made.traits.reviewed
    assert {"effect", "reach"} <= {evidence.about for evidence in made.evidence}
    for argument in made.traits.arguments:
        argument_path(argument.path)
    for found in made.traits.yields:
        result_path(found.path)
    file = Reviews(upstream="one", tools=(proposed(name, served.digest(), made.traits),))
    assert parse(render(file, {name: made.evidence}), name="one.toml") == file


@given(NAMES, BODIES, st.sets(st.sampled_from(list(HINTS))), TEXT)
def test_a_claim_that_says_less_changes_nothing(
    name: str, body: dict[str, Any], hints: set[str], title: str
) -> None:
    bare = {key: value for key, value in body.items() if key != "annotations"}
    claims: dict[str, Any] = {hint: HINTS[hint][0] for hint in hints}
    claims |= {"title": title, "idempotentHint": True}
    harmless = {**bare, "title": title, "annotations": claims}
    assert propose(definition(name, harmless)).traits == propose(definition(name, bare)).traits


def gullible(definition: Definition) -> Proposal:
    """Rules that believe every word of an upstream about itself."""
    said = claims(definition.body)
    http = definition.body.get("_meta", {}).get("dev.midflight/openapi", {})
    reads = said.read_only is True or http.get("method") == "GET" or "title" in definition.body
    traits = Traits(
        effect=Effect.READ if reads or said.destructive is False else Effect.EXECUTE,
        reach=Reach.CLOSED if said.open_world is False else Reach.OPEN,
        reviewed=True,
    )
    return Proposal(traits=traits, evidence=())


@given(BODIES, st.sets(st.sampled_from(list(HINTS))))
def test_not_even_rules_that_believe_everything_are_talked_into_less(
    body: dict[str, Any], hints: set[str]
) -> None:
    claimed = {"annotations": {hint: HINTS[hint][0] for hint in hints}, "title": "Reads."}
    meta = {"_meta": {"dev.midflight/openapi": {"method": "GET"}}}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(rules, "propose", gullible)
        made = propose(definition("any", {**body, **claimed, **meta}))
    assert made.traits == Traits(proposed=True)


@given(NAMES, BODIES, st.sampled_from(list(HINTS)))
def test_a_claim_that_says_more_never_lowers_anything(
    name: str, body: dict[str, Any], hint: str
) -> None:
    bare = {key: value for key, value in body.items() if key != "annotations"}
    honest = {**bare, "annotations": {hint: HINTS[hint][1]}}
    before = propose(definition(name, bare)).traits
    after = propose(definition(name, honest)).traits
    if before.effect is not Effect.READ:
        assert after.effect is before.effect
    elif hint != "openWorldHint":
        assert after.effect in {Effect.WRITE, Effect.DELETE}
    if before.reach is Reach.OPEN or hint == "openWorldHint":
        assert after.reach is Reach.OPEN
    assert (after.arguments, after.yields) == (before.arguments, before.yields)


@given(NAMES, BODIES, st.sampled_from(["GET", "HEAD", "OPTIONS", "get", ["POST"], None]))
def test_a_safe_method_of_http_changes_nothing(
    name: str, body: dict[str, Any], method: object
) -> None:
    bare = {key: value for key, value in body.items() if key != "_meta"}
    said = {**bare, "_meta": {"dev.midflight/openapi": {"method": method}}}
    assert propose(definition(name, said)).traits == propose(definition(name, bare)).traits


@given(NAMES, BODIES, st.sampled_from(["POST", "PUT", "PATCH", "DELETE"]))
def test_a_method_that_changes_something_is_no_read(
    name: str, body: dict[str, Any], method: str
) -> None:
    said = {**body, "_meta": {"dev.midflight/openapi": {"method": method}}}
    assert propose(definition(name, said)).traits.effect is not Effect.READ


def test_what_says_nothing_counts_as_the_worst_and_is_not_sure() -> None:
    made = propose(definition("zzyzx", {}))
    assert made.traits.effect is Effect.EXECUTE
    found = {evidence.about: evidence for evidence in made.evidence}
    assert found["effect"].sure is found["reach"].sure is Sureness.LOW
    assert made.traits.reach is Reach.OPEN or found["reach"].confirm
