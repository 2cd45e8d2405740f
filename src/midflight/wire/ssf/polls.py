"""Messages of polls and pushes, both sides (RFC 8936 §2, RFC 8935 §2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from midflight.domain.errors import Malformed
from midflight.domain.plain import plain
from midflight.domain.security_event import SetRefused
from midflight.domain.value import Discreet, JSONObject, Value
from midflight.wire import json

PUSH_TYPE: Final = "application/secevent+jwt"
MAX_ACKS: Final = 1_000
MAX_SETS: Final = 100
_MAX_ID: Final = 256
_MAX_DESCRIPTION: Final = 512
_MAX_DEPTH: Final = 4


class Poll(Value):
    """A poll: what is wanted, and what became of what was sent before.

    Attributes:
        most: SETs at most; 0 only acknowledges.
        wait: whether the answer may wait for an event.
        acks: ids of SETs that were taken.
        errors: (err, description) of SETs that were not, by id.
    """

    most: int
    wait: bool
    acks: tuple[str, ...]
    errors: Mapping[str, tuple[str, str]]


class Polled(Discreet):
    """The answer to a poll: SETs by id, in their order, and whether there are more."""

    shown = ("more",)

    sets: Mapping[str, str]
    more: bool


def decode_poll(raw: bytes) -> Poll:
    """A poll as a receiver sends it.

    Raises:
        Malformed: anything else. Members that are not known are ignored (RFC 8936 §2.2).
    """
    found = _object(json.decode(raw, max_depth=_MAX_DEPTH))
    most = found.get("maxEvents", MAX_SETS)
    if type(most) is not int or most < 0:
        raise Malformed("maxEvents is no number of events.")
    at_once = found.get("returnImmediately", False)
    if type(at_once) is not bool:
        raise Malformed("returnImmediately is neither true nor false.")
    acks = found.get("ack", [])
    if not isinstance(acks, list) or len(cast("list[Any]", acks)) > MAX_ACKS:
        raise Malformed(f"ack is no list of up to {MAX_ACKS} ids.")
    errors = _object(found.get("setErrs", {}))
    if len(errors) > MAX_ACKS:
        raise Malformed(f"setErrs has more than {MAX_ACKS} entries.")
    return Poll(
        most=min(most, MAX_SETS),
        wait=not at_once,
        acks=tuple(_id(one) for one in cast("list[Any]", acks)),
        errors={_id(name): _error(value) for name, value in errors.items()},
    )


def encode_poll(*, most: int, acks: tuple[str, ...], errors: Mapping[str, SetRefused]) -> bytes:
    """A poll as we send it: it asks what is there and does not wait."""
    told: JSONObject = {"maxEvents": most, "returnImmediately": True}
    if acks:
        told["ack"] = list(acks)
    if errors:
        told["setErrs"] = {name: _described(error) for name, error in errors.items()}
    return json.encode(told)


def decode_polled(raw: bytes) -> Polled:
    """What a transmitter answers to our poll. `Malformed` if it is something else."""
    found = _object(json.decode(raw, max_depth=_MAX_DEPTH))
    sets = _object(found.get("sets", {}))
    more = found.get("moreAvailable", False)
    if type(more) is not bool or len(sets) > MAX_ACKS:
        raise Malformed("The answer to the poll has members of another kind than they must be.")
    if not all(isinstance(text, str) for text in sets.values()):
        raise Malformed("The answer to the poll has a SET that is no text.")
    return Polled(sets={_id(name): text for name, text in sets.items()}, more=more)


def encode_polled(polled: Polled) -> bytes:
    """The answer to a poll (RFC 8936 §2.3)."""
    told: JSONObject = {"sets": dict(polled.sets)}
    if polled.more:
        told["moreAvailable"] = True
    return json.encode(told)


def encode_refused(error: SetRefused) -> bytes:
    """The body of a 400 to a push (RFC 8935 §2.3)."""
    return json.encode(_described(error))


def decode_refused(raw: bytes) -> tuple[str, str]:
    """(err, description) in a receiver's 400, or empty texts. Never raises."""
    try:
        found = json.as_object(json.decode(raw, max_depth=_MAX_DEPTH))
    except Malformed:
        return "", ""
    if found is None:
        return "", ""
    try:
        return _error(found)
    except Malformed:
        return "", ""


def _described(error: SetRefused) -> JSONObject:
    return {"err": error.err.value, "description": str(error)}


def _error(value: object) -> tuple[str, str]:
    found = _object(value)
    err, description = found.get("err"), found.get("description", "")
    if not isinstance(err, str) or not isinstance(description, str):
        raise Malformed("An error about a SET has no err and description.")
    return plain(err, 64), plain(description, _MAX_DESCRIPTION)


def _id(value: object) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= _MAX_ID:
        raise Malformed("The id of a SET is no text of 1 to 256 characters.")
    return value


def _object(value: object) -> JSONObject:
    found = json.as_object(value)
    if found is None:
        raise Malformed("The message is no JSON object where it must be one.")
    return found


__all__ = [
    "MAX_ACKS",
    "MAX_SETS",
    "PUSH_TYPE",
    "Poll",
    "Polled",
    "decode_poll",
    "decode_polled",
    "decode_refused",
    "encode_poll",
    "encode_polled",
    "encode_refused",
]
