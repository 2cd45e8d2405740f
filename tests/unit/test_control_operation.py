"""Reading the input of an operation: exactly what it takes, or a clear refusal."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midflight.apps.control import openapi
from midflight.apps.control.operation import Input, Operation
from midflight.apps.control.operators import Operator
from midflight.domain.errors import Malformed


class Order(Input):
    id: str
    count: int = 1
    fast: bool = False


async def fetch(given: Order, operator: Operator) -> str:
    del operator
    return given.id


async def send(given: Order, operator: Operator) -> str:
    del operator
    return given.id


GET = Operation(
    method="GET", path="/v1/orders/{id}", summary="s", input=Order, answer=str, act=fetch
)
POST = Operation(
    method="POST", path="/v1/orders/{id:path}/send", summary="s", input=Order, answer=str, act=send
)
JSON_TYPE = "application/json"


def post(body: bytes, content_type: str = JSON_TYPE, **path: str) -> Order:
    return POST.read(path=path, query=[], body=body, content_type=content_type)


def test_fields_come_from_path_and_body() -> None:
    assert post(b'{"count": 3}', id="a/b") == Order(id="a/b", count=3)
    assert post(b"", "", id="a") == Order(id="a")
    assert post(b"{}", "Application/JSON; charset=utf-8", id="a") == Order(id="a")


def test_numbers_of_a_query_are_text_and_those_of_a_body_are_not() -> None:
    found = GET.read(
        path={"id": "a"}, query=[("count", "3"), ("fast", "true")], body=b"", content_type=""
    )
    assert found == Order(id="a", count=3, fast=True)
    with pytest.raises(Malformed):
        post(b'{"count": "3"}', id="a")


@pytest.mark.parametrize(
    "body",
    [
        b"null",
        b"1",
        b'"x"',
        b'{"count": 1, "count": 2}',
        b'{"count": NaN}',
        b'{"count": 1e400}',
        b'{"id": "other"}',
        b'{"count": 1}x',
        b"\xff",
        b"[" * 100_000,
        b'{"a":' * 1000 + b"1" + b"}" * 1000,
        b'{"count": ' + b"9" * 5000 + b"}",
    ],
)
def test_what_two_parsers_could_read_differently_is_refused(body: bytes) -> None:
    with pytest.raises(Malformed):
        post(body, id="a")


@given(st.binary(max_size=100))
def test_any_bytes_are_an_input_or_malformed(body: bytes) -> None:
    try:
        assert isinstance(post(body, id="a"), Order)
    except Malformed as error:
        assert error.message  # noqa: PT017 -- either may be


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_any_document_is_an_input_or_malformed(document: Any) -> None:
    try:
        found = post(json.dumps(document).encode(), id="a")
    except Malformed:
        return
    # A document that is taken is an object that names nothing unknown.
    assert set(document) <= {"count", "fast"}
    assert found.id == "a"


def test_a_message_never_repeats_a_value() -> None:
    with pytest.raises(Malformed) as caught:
        post(b'{"count": "hunter2"}', id="a")
    assert "hunter2" not in str(caught.value)


def test_the_document_says_where_each_field_stands() -> None:
    document = openapi.document([GET, POST])
    found = document["paths"]["/v1/orders/{id}"]["get"]
    assert {(p["name"], p["in"], p["required"]) for p in found["parameters"]} == {
        ("id", "path", True),
        ("count", "query", False),
        ("fast", "query", False),
    }
    sent = document["paths"]["/v1/orders/{id}/send"]["post"]
    assert [p["name"] for p in sent["parameters"]] == ["id"]
    assert sent["requestBody"]["required"] is False
    body = sent["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["properties"]) == {"count", "fast"}
    assert body["additionalProperties"] is False


def test_an_input_that_stands_in_one_path_is_whole_in_another_body() -> None:
    flat = Operation(
        method="POST", path="/v1/orders", summary="s", input=Order, answer=str, act=send
    )
    document = openapi.document([GET, flat])
    (schema,) = document["paths"]["/v1/orders"]["post"]["requestBody"]["content"].values()
    assert schema["schema"] == {"$ref": "#/components/schemas/Order"}
    assert "id" in document["components"]["schemas"]["Order"]["required"]
