"""The messages of the Workload API (SPIFFE Workload API §5), in a descriptor pool of their own.

The standard's file has no package, so its message names are global: a process that imports any
other SPIFFE library beside us would register them twice, which protobuf refuses. A private pool
keeps ours apart. The descriptors are written here as a table; there is no generated code.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, struct_pb2

SERVICE = "SpiffeWorkloadAPI"

_BYTES = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
_STRING = descriptor_pb2.FieldDescriptorProto.TYPE_STRING
_ONE = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
_MANY = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED

_STRUCT = ".google.protobuf.Struct"

# message -> fields in the order of their numbers: (name, type). "[]" is repeated, "{}" a map of
# strings to bytes; any other type is a message.
_MESSAGES: dict[str, tuple[tuple[str, str], ...]] = {
    "X509SVIDRequest": (),
    "X509SVIDResponse": (
        ("svids", "[]X509SVID"),
        ("crl", "[]bytes"),
        ("federated_bundles", "{}"),
    ),
    "X509SVID": (
        ("spiffe_id", "string"),
        ("x509_svid", "bytes"),
        ("x509_svid_key", "bytes"),
        ("bundle", "bytes"),
        ("hint", "string"),
    ),
    "X509BundlesRequest": (),
    "X509BundlesResponse": (("crl", "[]bytes"), ("bundles", "{}")),
    "JWTSVIDRequest": (("audience", "[]string"), ("spiffe_id", "string")),
    "JWTSVIDResponse": (("svids", "[]JWTSVID"),),
    "JWTSVID": (("spiffe_id", "string"), ("svid", "string"), ("hint", "string")),
    "JWTBundlesRequest": (),
    "JWTBundlesResponse": (("bundles", "{}"),),
    "ValidateJWTSVIDRequest": (("audience", "string"), ("svid", "string")),
    "ValidateJWTSVIDResponse": (("spiffe_id", "string"), ("claims", _STRUCT)),
}


def messages() -> dict[str, Any]:
    """Message classes by name, from a pool that nobody else sees."""
    file = descriptor_pb2.FileDescriptorProto(
        name="midflight/workload.proto",
        syntax="proto3",
        dependency=["google/protobuf/struct.proto"],
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields, start=1):
            _add_field(message, field, number, kind)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(struct_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
        for name in _MESSAGES
    }


def _add_field(message: Any, name: str, number: int, kind: str) -> None:
    field = message.field.add(name=name, number=number, label=_ONE)
    if kind.startswith("[]"):
        field.label = _MANY
        kind = kind[2:]
    if kind == "{}":
        entry = "".join(part.capitalize() for part in name.split("_")) + "Entry"
        nested = message.nested_type.add(name=entry)
        nested.options.map_entry = True
        nested.field.add(name="key", number=1, label=_ONE, type=_STRING)
        nested.field.add(name="value", number=2, label=_ONE, type=_BYTES)
        field.label = _MANY
        kind = f".{message.name}.{entry}"
    match kind:
        case "string":
            field.type = _STRING
        case "bytes":
            field.type = _BYTES
        case _:
            field.type = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
            field.type_name = kind if kind.startswith(".") else f".{kind}"


__all__ = ["SERVICE", "messages"]
