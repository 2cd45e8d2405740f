"""Manifests become definitions: OpenAPI documents, and files of tools with schemas."""

from __future__ import annotations

import json
from typing import Any

import pytest

from midflight.domain.errors import Malformed, NotFound, TooLarge
from midflight.domain.tool import Definition, PinnedKind
from midflight.wire import manifest
from midflight.wire.manifest import read_document
from midflight.wire.openapi_tools import tools_of_openapi
from midflight.wire.tools_file import tools_of_file

MAIL = {"name": "send_mail", "inputSchema": {"type": "object"}, "annotations": {"x": 1}}
ISSUES: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "Issues", "version": "1"},
    "servers": [{"url": "https://issues.example.org/v1"}],
    "security": [{"oauth": ["write"]}],
    "paths": {
        "/issues/{id}": {
            "parameters": [{"$ref": "#/components/parameters/Id"}],
            "get": {
                "operationId": "getIssue",
                "summary": "Reads an issue.",
                "description": "With its comments.",
                "parameters": [
                    {"name": "since", "in": "query", "schema": {"format": "date"}},
                    {"name": "trace", "in": "header", "schema": {"type": "string"}},
                    {"name": "session", "in": "cookie", "schema": {"type": "string"}},
                ],
                "responses": {
                    "404": {"description": "none"},
                    "200": {"$ref": "#/components/responses/Issue"},
                },
            },
            "patch": {
                "requestBody": {
                    "content": {
                        "text/plain": {"schema": {"type": "string"}},
                        "application/json": {"schema": {"$ref": "#/components/schemas/Change"}},
                    }
                },
                "security": [],
                "responses": {},
            },
        },
        "/issues": {
            "post": {
                "operationId": "create",
                "parameters": [{"name": "title", "in": "query", "schema": {}}],
                "requestBody": {
                    "content": {"application/json": {"schema": {"$ref": "#/x~1y/%7E"}}}
                },
            },
            "x-owner": "none",
        },
        "x-paths": 1,
    },
    "x/y": {"~": {"type": "object", "properties": {"title": {"type": "string"}}}},
    "components": {
        "parameters": {
            "Id": {
                "name": "id",
                "in": "path",
                "required": True,
                "description": "Which.",
                "schema": {"type": "integer"},
            }
        },
        "responses": {
            "Issue": {
                "description": "one",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Issue"}}},
            }
        },
        "schemas": {
            "Issue": {
                "type": "object",
                "properties": {
                    "title": {"type": "string"},
                    "parent": {"$ref": "#/components/schemas/Issue"},
                    "$ref": {"type": "string"},
                },
            },
            "Change": {
                "allOf": [{"properties": {"title": {"type": "string"}}}],
                "properties": {"state": {"enum": ["open", "closed"]}},
                "required": ["state"],
            },
        },
    },
}


def issues() -> dict[str, Definition]:
    made = tools_of_openapi(ISSUES, upstream="issues")
    return {definition.name: definition for definition in made.definitions}


def refused(document: object) -> str:
    with pytest.raises(Malformed) as caught:
        tools_of_openapi(document, upstream="issues")  # type: ignore[arg-type]
    return str(caught.value)


def with_schema(schema: object, **components: object) -> dict[str, Any]:
    body = {"content": {"application/json": {"schema": schema}}}
    return {
        "openapi": "3.0.3",
        "paths": {"/x": {"post": {"requestBody": body}}},
        "components": components,
    }


def test_every_operation_is_a_tool() -> None:
    assert list(issues()) == ["getIssue", "patch_issues_id", "create"]
    assert {found.kind for found in issues().values()} == {PinnedKind.TOOL}
    assert issues()["getIssue"].body["description"] == "Reads an issue.\n\nWith its comments."


def test_parameters_of_path_and_operation_are_arguments() -> None:
    schema = issues()["getIssue"].body["inputSchema"]
    assert schema == {
        "type": "object",
        "properties": {
            "id": {"description": "Which.", "type": "integer"},
            "since": {"format": "date"},
            "trace": {"type": "string"},
            "session": {"type": "string"},
        },
        "required": ["id"],
    }


def test_members_of_the_json_body_are_arguments_beside_them() -> None:
    schema = issues()["patch_issues_id"].body["inputSchema"]
    assert list(schema["properties"]) == ["id", "title", "state"]
    assert schema["required"] == ["id", "state"]


def test_a_body_that_collides_with_a_parameter_keeps_a_name_of_its_own() -> None:
    schema = issues()["create"].body["inputSchema"]
    assert schema["properties"]["title"] == {}
    assert list(schema["properties"]["body"]["properties"]) == ["title"]


def test_what_http_says_stands_in_the_meta() -> None:
    found = issues()["patch_issues_id"].body["_meta"]["dev.midflight/openapi"]
    assert found == {
        "method": "PATCH",
        "path": "/issues/{id}",
        "in": {"id": "path", "title": "body", "state": "body"},
        "servers": ["https://issues.example.org/v1"],
        "security": [],
    }
    assert issues()["getIssue"].body["_meta"]["dev.midflight/openapi"]["security"] == ["oauth"]


def test_a_schema_that_holds_itself_is_cut_and_said() -> None:
    made = tools_of_openapi(ISSUES, upstream="issues")
    answer = issues()["getIssue"].body["outputSchema"]
    assert answer["properties"]["parent"] == {}
    assert answer["properties"]["$ref"] == {"type": "string"}
    assert made.notes == ("1 parts of schemas are recursive, deep or large, and were left out.",)


def test_what_stands_beside_a_reference_adds_to_it() -> None:
    schema = {"$ref": "#/components/A", "description": "Whom."}
    [tool] = tools_of_openapi(with_schema(schema, A={"type": "string"}), upstream="x").definitions
    body = tool.body["inputSchema"]["properties"]["body"]
    assert body == {"type": "string", "description": "Whom."}


@pytest.mark.parametrize(
    ("schema", "components", "said"),
    [
        ({"$ref": "#/components/A"}, {"A": {"$ref": "#/components/A"}}, "circle"),
        (
            {"$ref": "#/components/A"},
            {"A": {"$ref": "#/components/B"}, "B": {"$ref": "#/components/A"}},
            "circle",
        ),
        ({"$ref": "https://evil.example/x.json"}, {}, "leads out of the document"),
        ({"$ref": "file:///etc/passwd"}, {}, "leads out of the document"),
        ({"$ref": "../other.json#/A"}, {}, "leads out of the document"),
        ({"$ref": "#/components/None"}, {}, "leads nowhere"),
        ({"$ref": "#/paths/~1x/post/requestBody/9"}, {}, "leads nowhere"),
    ],
)
def test_a_reference_that_means_nothing_is_refused(
    schema: object, components: dict[str, object], said: str
) -> None:
    message = refused(with_schema(schema, **components))
    assert "POST '/x'" in message
    assert said in message


def test_references_that_grow_are_bounded() -> None:
    # Each level holds the next one ten times: 10 to the power of 20 values, if all were written.
    bomb: dict[str, object] = {
        f"L{n}": {"properties": {f"p{i}": {"$ref": f"#/components/L{n + 1}"} for i in range(10)}}
        for n in range(20)
    }
    bomb["L20"] = {"type": "string"}
    made = tools_of_openapi(with_schema({"$ref": "#/components/L0"}, **bomb), upstream="x")
    assert len(json.dumps(made.definitions[0].body)) < 200_000
    assert made.notes


def test_a_document_that_comes_to_too_much_in_all_is_refused() -> None:
    wide = {"properties": {f"p{i}": {"type": "string"} for i in range(3_000)}}
    document = with_schema({}, Wide=wide)
    operation = with_schema({"$ref": "#/components/Wide"})["paths"]["/x"]
    document["paths"] = {f"/x{i}": operation for i in range(1_000)}
    assert "come to more than" in refused(document)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([], "is not an object"),
        ({"swagger": "2.0"}, "not OpenAPI 3.0 or 3.1"),
        ({"openapi": "3.2.0"}, "not OpenAPI 3.0 or 3.1"),
        ({"openapi": "3.11"}, "not OpenAPI 3.0 or 3.1"),
        ({"openapi": "3.0.1", "paths": []}, "paths is not an object"),
        ({"openapi": "3.0.1", "paths": {"/a": {"get": []}}}, "GET '/a' is not an object"),
        ({"openapi": "3.0.1", "paths": {"/a": {"get": {"parameters": {}}}}}, "not an array"),
        ({"openapi": "3.0.1", "paths": {"/a": {"get": {"operationId": 5}}}}, "has no name"),
        (
            {"openapi": "3.0.1", "paths": {p: {"get": {"operationId": "x"}} for p in ("/a", "/b")}},
            "GET '/b': another operation is also called 'x'",
        ),
        (
            {"openapi": "3.0.1", "paths": {"/a": {"get": {"parameters": [{"name": "x"}]}}}},
            "is in no place that is known",
        ),
    ],
)
def test_what_is_no_such_document_is_refused(document: object, said: str) -> None:
    assert said in refused(document)


def test_the_file_of_tools_keeps_what_is_mcp_as_it_is() -> None:
    for document in ([MAIL], {"tools": [MAIL]}, {"mail": [MAIL], "other": []}):
        [found] = tools_of_file(document, upstream="mail").definitions  # type: ignore[arg-type]
        served = Definition(upstream="mail", kind=PinnedKind.TOOL, name="send_mail", body=MAIL)
        assert found == served
        assert found.digest() == served.digest()


@pytest.mark.parametrize(
    "entry",
    [
        {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}},
        {"type": "function", "name": "f", "parameters": {"type": "object"}},
        {"name": "f", "input_schema": {"type": "object"}},
        {"name": "f", "parameters": {"type": "object"}},
    ],
)
def test_functions_of_chat_interfaces_are_tools(entry: dict[str, Any]) -> None:
    [found] = tools_of_file([entry], upstream="x").definitions
    assert found.body == {"name": "f", "inputSchema": {"type": "object"}}


def test_a_function_that_takes_nothing_has_an_empty_schema() -> None:
    [found] = tools_of_file(
        [{"type": "function", "function": {"name": "f"}}], upstream="x"
    ).definitions
    assert found.body["inputSchema"] == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (5, "not an object"),
        ({"mail": {}}, "not an array"),
        ([5], "Tool 1 is not an object"),
        ([{}], "Tool 1 has no name"),
        ([{"name": ""}], "Tool 1 has no name"),
        ([{"name": "x" * 513}], "Tool 1 has no name"),
        ([MAIL, MAIL], "'send_mail' stands twice"),
        ([{"type": "function", "function": 1}], "function of tool 1 is not an object"),
        ([{"name": "f", "parameters": []}], "schema of Tool 1 is not an object"),
    ],
)
def test_what_is_no_file_of_tools_is_refused(document: object, said: str) -> None:
    with pytest.raises(Malformed, match=said):
        tools_of_file(document, upstream="mail")  # type: ignore[arg-type]


def test_an_upstream_that_the_file_does_not_name_is_said() -> None:
    with pytest.raises(NotFound, match="It names: 'other'"):
        tools_of_file({"other": []}, upstream="mail")


def test_a_document_is_strict_json(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Malformed, match="same key twice"):
        read_document(b'{"paths": 1, "paths": 2}', name="api.json")
    with pytest.raises(Malformed, match="convert YAML first"):
        read_document(b"openapi: 3.0.1\npaths: {}\n", name="api.yaml")
    with pytest.raises(Malformed, match="deeper than 64 levels"):
        read_document(b"[" * 100 + b"]" * 100, name="api.json")
    monkeypatch.setattr(manifest, "MAX_BYTES", 10)
    with pytest.raises(TooLarge, match=r"api\.json is larger"):
        read_document(b" " * 11, name="api.json")
