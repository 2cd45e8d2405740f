"""Whatever document somebody hands in as a manifest: tools, or an error of the tree, in bounds."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from midflight.domain.errors import MidflightError
from midflight.domain.proposal import propose
from midflight.domain.reviews import Reviews, proposed
from midflight.wire.json import decode, encode
from midflight.wire.openapi_tools import tools_of_openapi
from midflight.wire.tools_file import tools_of_file
from midflight.wire.traits_file import parse, render

REFS = st.sampled_from(
    [
        "#",
        "#/",
        "#/components",
        "#/components/A",
        "#/components/B",
        "#/paths/~1a",
        "#/x/0",
        "http://x",
    ]
)
NAMES = st.sampled_from(
    [
        "get",
        "post",
        "parameters",
        "schema",
        "content",
        "application/json",
        "properties",
        "allOf",
        "$ref",
        "in",
        "name",
        "path",
        "query",
        "requestBody",
        "responses",
        "200",
        "items",
        "required",
        "A",
        "B",
        "description",
        "operationId",
        "servers",
        "url",
        "security",
        "type",
        "object",
    ]
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | NAMES | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(NAMES, inner, max_size=4)
        | st.fixed_dictionaries({"$ref": REFS}, optional={"description": inner})
        | st.fixed_dictionaries(
            {"name": NAMES, "in": st.sampled_from(["path", "query"])}, optional={"schema": inner}
        )
        | st.fixed_dictionaries({"content": st.fixed_dictionaries({"application/json": inner})})
    ),
    max_leaves=20,
)
OPERATIONS = JSON | st.fixed_dictionaries(
    {},
    optional={
        "operationId": NAMES,
        "parameters": st.lists(JSON, max_size=2),
        "requestBody": JSON,
        "responses": st.dictionaries(st.just("200"), JSON),
    },
)
ITEMS = JSON | st.dictionaries(st.sampled_from(["get", "post", "parameters"]), OPERATIONS)
DOCUMENTS = st.fixed_dictionaries(
    {
        "openapi": st.just("3.1.0"),
        "paths": st.dictionaries(st.sampled_from(["/a", "/b/{c}"]), ITEMS),
        "components": st.dictionaries(st.sampled_from("AB"), JSON),
    }
)


def hold(made: Any) -> None:
    """Every definition is JSON that a strict decoder takes, and gets a proposal and a file."""
    reviews = []
    for definition in made.definitions:
        assert decode(encode(definition.body)) == definition.body
        found = propose(definition)
        reviews.append(proposed(definition.name, definition.digest(), found.traits))
    file = Reviews(upstream="x", tools=tuple(reviews))
    assert parse(render(file), name="x.toml") == file


@given(DOCUMENTS | JSON)
def test_any_openapi_document_gives_tools_or_an_error(document: Any) -> None:
    before = encode(document)
    try:
        made = tools_of_openapi(document, upstream="x")
    except MidflightError:
        return
    finally:
        assert encode(document) == before
    hold(made)


@given(JSON | st.lists(st.dictionaries(NAMES, JSON, max_size=4)))
def test_any_file_of_tools_gives_tools_or_an_error(document: Any) -> None:
    try:
        made = tools_of_file(document, upstream="x")
    except MidflightError:
        return
    hold(made)
