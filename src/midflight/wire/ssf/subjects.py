"""Reads subject identifiers (RFC 9493 §3, SSF 1.0 §3): strictly what is used, nothing else."""

from __future__ import annotations

from typing import Any, Final, cast

from midflight.domain.errors import Malformed
from midflight.domain.subject_identifiers import (
    Complex,
    Email,
    IssSub,
    JwtId,
    Opaque,
    OtherSubject,
    Simple,
    Subject,
)
from midflight.domain.value import JSONObject
from midflight.wire.json import as_object

MAX_NAME: Final = 2_048
MAX_MEMBERS: Final = 16


def decode_subject(value: object) -> Subject:
    """A subject identifier.

    What a format does not define is ignored (SSF 1.0 §4.2.3); a format that is not known here is an
    `OtherSubject`.

    Raises:
        Malformed: no object, no format, a member missing or of another kind than it must be.
    """
    found = _object(value)
    if found.get("format") != "complex":
        return _simple(found)
    members = {name: inner for name, inner in found.items() if name != "format"}
    if not 1 <= len(members) <= MAX_MEMBERS:
        raise Malformed(f"A complex subject has 1 to {MAX_MEMBERS} members.")
    if not all(map(_is_name, members)):
        raise Malformed("A member of a complex subject has no usable name.")
    return Complex(members={name: _simple(_object(inner)) for name, inner in members.items()})


def _simple(found: JSONObject) -> Simple:
    match found.get("format"):
        case "email":
            # RFC 9493 §3.2.2: an addr-spec; what stands behind it is compared, never parsed.
            address = _text(found, "email")
            if not 0 < address.find("@") < len(address) - 1:
                raise Malformed("The email of a subject is no address.")
            return Email(email=address)
        case "iss_sub":
            return IssSub(iss=_text(found, "iss"), sub=_text(found, "sub"))
        case "opaque":
            return Opaque(id=_text(found, "id"))
        case "jwt_id":
            return JwtId(iss=_text(found, "iss"), jti=_text(found, "jti"))
        case "complex":
            raise Malformed("A member of a complex subject is complex itself.")
        case str(name) if _is_name(name) and len(name) <= 64:
            return OtherSubject(name=name)
        case _:
            raise Malformed("A subject has no usable format.")


def _object(value: object) -> JSONObject:
    found = as_object(cast("Any", value))
    if found is None:
        raise Malformed("A subject is no object.")
    return found


def _text(found: JSONObject, name: str) -> str:
    value = found.get(name)
    if not isinstance(value, str) or not _is_name(value):
        raise Malformed(f"A subject lacks a usable {name}.")
    return value


def _is_name(value: str) -> bool:
    return 1 <= len(value) <= MAX_NAME and value.isprintable()


__all__ = ["MAX_MEMBERS", "MAX_NAME", "decode_subject"]
