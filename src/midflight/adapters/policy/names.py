"""Names between two worlds: what upstreams call things, and what Cedar calls them.

Every mapping here is one-to-one and can be read backwards, so no upstream can choose a name that
means something else in a policy. Action and entity ids are strings in Cedar and only need their
separator kept apart; argument names become identifiers, so that a policy can write
`context.args.repo_path`. Above: `schema.py`, `arguments.py`, `entities.py`. Below: nothing.
"""

from __future__ import annotations

import re

from midflight.domain.action import ActionKind

_TOOL_PREFIX = f"{ActionKind.CALL_TOOL.value}::"

# Cedar grammar, `RESERVED`: these are no identifiers.
_RESERVED = frozenset({"true", "false", "if", "then", "else", "in", "is", "like", "has", "__cedar"})
_PLAIN = re.compile(r"[A-Za-z_](?:_?[A-Za-z0-9])*_?\Z")
_ESCAPE = re.compile(r"__([0-9a-f]*)_")


def argument_id(name: str) -> str:
    """The Cedar identifier of an argument or property name.

    A name that already is an identifier, has no two underscores in a row and is not reserved stays
    as it is. Otherwise each character that cannot stay becomes `__<hex code point>_`: `user-id` is
    `user__2d_id`, `in` is `__69_n`, the empty name is `___`.
    """
    if _PLAIN.match(name) is not None and name not in _RESERVED:
        return name
    if not name:
        return "___"
    pieces: list[str] = []
    for position, char in enumerate(name):
        following = name[position + 1 : position + 2]
        if _stays(char, following, first=position == 0, reserved=name in _RESERVED):
            pieces.append(char)
        else:
            pieces.append(f"__{ord(char):x}_")
    return "".join(pieces)


def _stays(char: str, following: str, *, first: bool, reserved: bool) -> bool:
    if first and (reserved or char.isdigit()):
        return False
    if char == "_":
        # An escape opens with two underscores, so a plain one is never followed by another.
        return following == "" or (following.isascii() and following.isalnum())
    return char.isascii() and char.isalnum()


def argument_name(identifier: str) -> str:
    """The name behind `argument_id`: its exact inverse."""
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else "", identifier)


def tool_id(upstream: str, name: str) -> str:
    """Id of a tool entity: `<upstream>/<name>`, with `%` and `/` of the upstream escaped."""
    return f"{upstream.replace('%', '%25').replace('/', '%2F')}/{name}"


def parse_tool_id(identifier: str) -> tuple[str, str]:
    """(upstream, name) behind `tool_id`. `ValueError` if it is not one."""
    upstream, slash, name = identifier.partition("/")
    if not slash:
        raise ValueError(f"{identifier!r} is not <upstream>/<name>")
    return upstream.replace("%2F", "/").replace("%25", "%"), name


def tool_action_id(upstream: str, name: str) -> str:
    """Id of the action that calls one tool: `call_tool::<upstream>/<name>`."""
    return _TOOL_PREFIX + tool_id(upstream, name)


def parse_tool_action_id(identifier: str) -> tuple[str, str] | None:
    """(upstream, name) behind `tool_action_id`, or None if the action calls no tool."""
    if not identifier.startswith(_TOOL_PREFIX):
        return None
    try:
        return parse_tool_id(identifier.removeprefix(_TOOL_PREFIX))
    except ValueError:
        return None


def item_id(kind: ActionKind, upstream: str, name: str) -> str:
    """Id of what is no tool: `<kind>:<upstream>/<name>`, such as `read_resource:files/file:///a`."""
    return f"{kind.value}:{tool_id(upstream, name)}"


__all__ = [
    "argument_id",
    "argument_name",
    "item_id",
    "parse_tool_action_id",
    "parse_tool_id",
    "tool_action_id",
    "tool_id",
]
