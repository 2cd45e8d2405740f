"""Message classes out of a table, in a descriptor pool of their own.

The standards' files have global names, so a process that imports any other library for them beside
us would register them twice, which protobuf refuses. A private pool keeps ours apart, and there is
no generated code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import (
    any_pb2,
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    struct_pb2,
)

Table = Mapping[str, tuple[tuple[str, str], ...]]
"""Message -> fields in the order of their numbers: (name, type). `[]T` is repeated, `{}T` a map of
strings to it. A type is `string`, `bytes`, `int32`, a message of the table, or with a leading dot
one of another package."""

_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "string": _FIELD.TYPE_STRING,
    "bytes": _FIELD.TYPE_BYTES,
    "int32": _FIELD.TYPE_INT32,
}
_KNOWN = (struct_pb2, any_pb2)


def messages(table: Table, *, package: str = "") -> dict[str, Any]:
    """The classes by name, from a pool that nobody else sees."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"midflight/{package or 'workload'}.proto",
        package=package,
        syntax="proto3",
        dependency=[known.DESCRIPTOR.name for known in _KNOWN],
    )
    scope = f".{package}." if package else "."
    for name, fields in table.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields, start=1):
            _add_field(message, field, number, kind, scope)
    pool = descriptor_pool.DescriptorPool()
    for known in _KNOWN:
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    found = {name: pool.FindMessageTypeByName((scope + name)[1:]) for name in table}
    return {name: message_factory.GetMessageClass(each) for name, each in found.items()}


def _add_field(message: Any, name: str, number: int, kind: str, scope: str) -> None:
    field = message.field.add(name=name, number=number, label=_FIELD.LABEL_OPTIONAL)
    if kind.startswith("[]"):
        field.label = _FIELD.LABEL_REPEATED
        kind = kind[2:]
    elif kind.startswith("{}"):
        entry = "".join(part.capitalize() for part in name.split("_")) + "Entry"
        nested = message.nested_type.add(name=entry)
        nested.options.map_entry = True
        for place, (part, inner) in enumerate((("key", "string"), ("value", kind[2:])), start=1):
            nested.field.add(
                name=part, number=place, label=_FIELD.LABEL_OPTIONAL, type=_SCALARS[inner]
            )
        field.label = _FIELD.LABEL_REPEATED
        kind = f"{scope}{message.name}.{entry}"
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type = _FIELD.TYPE_MESSAGE
        field.type_name = kind if kind.startswith(".") else scope + kind


__all__ = ["Table", "messages"]
