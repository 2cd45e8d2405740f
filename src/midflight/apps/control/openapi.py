"""The OpenAPI 3.1 document of the control API, made from the table of operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from midflight import __version__
from midflight.apps.control.operation import Operation
from midflight.domain.value import JSONObject, Value

_REF = "#/components/schemas/{name}"


class Refusal(Value):
    """Every answer that is not 2xx. `problems` lists every one where there may be several."""

    code: str
    message: str
    hint: str
    problems: tuple[str, ...] = ()


_REFUSALS = {
    "400": "not a request that this operation takes",
    "401": "no proof of who calls, or one that does not hold",
    "403": "the caller is known and may not do this",
    "404": "a thing that was named is not there",
    "409": "the state of a thing does not allow this",
    "422": "settings or policies that are wrong, every problem at once",
    "503": "a part that Midflight needs does not answer",
}


def document(operations: Sequence[Operation[Any]]) -> JSONObject:
    """The document. Schemas are those that requests are decoded with."""
    answers = [operation.answer for operation in operations]
    inputs: list[Any] = [operation.input for operation in operations]
    schemas, components = msgspec.json.schema_components(
        [*inputs, *answers, Refusal], ref_template=_REF
    )
    paths: dict[str, Any] = {}
    for index, operation in enumerate(operations):
        fields = components[operation.input.__name__]
        path = operation.path.replace(":path}", "}")
        paths.setdefault(path, {})[operation.method.lower()] = _describe(
            operation, fields=fields, answer=schemas[len(inputs) + index]
        )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Midflight control API",
            "version": __version__,
            "description": (
                "For operators. Over the Unix socket the kernel says who calls; on loopback a"
                " token from `midflight operator token` is needed."
            ),
        },
        "security": [{"operatorToken": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"operatorToken": {"type": "http", "scheme": "bearer"}},
        },
    }


def _describe(operation: Operation[Any], *, fields: JSONObject, answer: Any) -> JSONObject:
    properties: JSONObject = fields.get("properties", {})
    required: list[str] = fields.get("required", [])
    parameters = [
        {
            "name": name,
            "in": "path" if name in operation.path_fields else "query",
            "required": name in required or name in operation.path_fields,
            "schema": schema,
        }
        for name, schema in properties.items()
        if name in operation.path_fields or operation.method == "GET"
    ]
    described: JSONObject = {
        "operationId": operation.act.__name__,
        "summary": operation.summary,
        "parameters": parameters,
        "responses": {
            "200": {
                "description": "done",
                "content": {"application/json": {"schema": answer}},
            }
        }
        | {
            status: {
                "description": text,
                "content": {"application/json": {"schema": {"$ref": _REF.format(name="Refusal")}}},
            }
            for status, text in _REFUSALS.items()
        },
    }
    if operation.method != "GET" and set(properties) - set(operation.path_fields):
        described["requestBody"] = {
            "required": bool(set(required) - set(operation.path_fields)),
            "content": {"application/json": {"schema": _body(operation, fields)}},
        }
    return described


def _body(operation: Operation[Any], fields: JSONObject) -> JSONObject:
    """The schema of the body: the input, without what stands in the path."""
    inside = operation.path_fields
    if not inside:
        return {"$ref": _REF.format(name=operation.input.__name__)}
    properties: JSONObject = fields["properties"]
    return fields | {
        "title": f"Body of {operation.act.__name__}",
        "properties": {name: schema for name, schema in properties.items() if name not in inside},
        "required": [name for name in fields.get("required", []) if name not in inside],
    }


__all__ = ["Refusal", "document"]
