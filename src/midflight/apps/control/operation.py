"""One operation of the control API: its place, its input, its answer, and what it does.

The table of operations drives routing, strict decoding and the OpenAPI document, so the three
cannot disagree.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from midflight.apps.control.operators import Operator
from midflight.domain.errors import Malformed
from midflight.domain.value import Value
from midflight.wire.json import decode

MAX_BODY_BYTES = 1_048_576


class Input(Value, forbid_unknown_fields=True):
    """Base of all inputs: the fields named in the path, and the rest from query or body."""


class Empty(Input):
    """No input at all."""


InputT = TypeVar("InputT", bound=Input)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation(Generic[InputT]):
    """One row of the table.

    Attributes:
        method: `GET`, or `POST` for everything that changes something.
        path: with `{name}` for fields of the input that stand in the path.
        summary: one line for the OpenAPI document.
        input: what is read, unknown fields refused.
        answer: type of the answer, for the OpenAPI document.
        act: does it, for an authenticated operator.
        socket_only: refused over TCP, whatever the token: what it makes proves an identity for
            longer than a token lives, or what it takes away was there to stop or to find somebody.
    """

    method: str
    path: str
    summary: str
    input: type[InputT]
    answer: Any
    act: Callable[[InputT, Operator], Awaitable[Any]]
    socket_only: bool = False

    @property
    def path_fields(self) -> tuple[str, ...]:
        """Names of the input's fields that stand in the path."""
        return tuple(
            part.strip("{}").removesuffix(":path")
            for part in self.path.split("/")
            if part.startswith("{")
        )

    def read(
        self,
        *,
        path: Mapping[str, str],
        query: list[tuple[str, str]],
        body: bytes,
        content_type: str,
    ) -> InputT:
        """The input of one request.

        Raises:
            Malformed: anything that is not exactly such an input.
        """
        if self.method == "GET":
            if body:
                raise Malformed("A GET request has no body.")
            given: dict[str, Any] = dict(query)
            if len(given) != len(query):
                raise Malformed("A query parameter is given twice.")
        else:
            if query:
                raise Malformed("A POST request has no query; everything stands in the body.")
            given = _object(body, content_type)
        for name, text in path.items():
            if name in given:
                raise Malformed(f"{name} stands in the path and again in the request.")
            given[name] = text
        try:
            # Text of a query may stand for a number; JSON has numbers of its own.
            return msgspec.convert(given, self.input, strict=self.method != "GET")
        except msgspec.ValidationError as error:
            # msgspec names the field and the types, never the value.
            raise Malformed(
                f"The request is not what {self.method} {self.path} takes: {error}.",
                hint="/v1/openapi.json says what it takes.",
            ) from None


def _object(body: bytes, content_type: str) -> dict[str, Any]:
    if not body:
        return {}
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise Malformed("The body is not application/json.")
    document = decode(body)
    if not isinstance(document, dict):
        raise Malformed("The body is not a JSON object.")
    return document


__all__ = ["MAX_BODY_BYTES", "Empty", "Input", "Operation"]
