"""The screen an approver decides on. Everything on it that an agent or a tool wrote is hostile.

Each value of the action stands on one line of its own, behind its path, in quotes, with every
character that would hide or move something made visible, and cut where it is long; what was cut is
counted. A name that is not plain is quoted, too, so that no name can look like a value. What a
request says never starts a line.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterator, Sequence
from typing import Any

from midflight.apps.cli.run import labels
from midflight.apps.durations import iso
from midflight.domain.approval import NOT_OWNER, OWNER, binding_code
from midflight.domain.plain import visible
from midflight.domain.provenance import Concern, Origin
from midflight.domain.traits import KEY_ROLES

HEAD, TAIL = 400, 100
"""Characters shown of a long value, from its begin and its end."""
MAX_LINES = 200
"""Values shown of one action; those with a known origin come first."""
MAX_NAME = 120

_ORIGINS = {
    Origin.INTENT: "said by the principal",
    Origin.ENDORSED: "approved before",
    Origin.TRUSTED: "trusted",
    Origin.UNTRUSTED: "untrusted",
    Origin.MODEL: "made up or put together by the model",
}
CONCERNS = {
    Concern.EFFECT_NOT_ASKED: "The intent does not ask for an effect of this kind.",
    Concern.TOO_MANY: "The intent asks for fewer of these.",
    Concern.KEY_UNTRUSTED: "A key argument comes from words that somebody wrote.",
    Concern.KEY_UNKNOWN: "A key argument comes from nowhere.",
    Concern.KEY_UNLINKED: "A recipient comes from a record that the intent did not select.",
    Concern.KEY_CONTESTED: "A key argument is also named in words that somebody wrote.",
    Concern.CONTENT_CONTACT: "The content holds an address, account or link nobody vouches for.",
    Concern.CONTENT_PASSAGE: "The content repeats a source that the intent did not select.",
    Concern.CONTENT_SECRET: "The content holds a value of a secret field.",
    Concern.URL_ASSEMBLED: "The address was put together, so it can carry data out.",
}
"""What speaks against an action, in words for people."""


def screen(found: dict[str, Any]) -> list[str]:
    """The lines of the screen for one request, as the control API gives it."""
    facts: dict[str, Any] = found["facts"]
    flow: dict[str, Any] = facts["flow"]
    return [
        *_head(found, facts),
        "",
        f"arguments{_are_cut(found)}",
        *_arguments(found, flow),
        "",
        "a person is asked by",
        *(f"  {_reason(reason)}" for reason in found["reasons"]),
        *_section("what speaks against it", [concern(name) for name in flow["concerns"]]),
        *_section("answers", [_answer(answer) for answer in found["answers"]]),
        *_section("on yes", _on_yes(found)),
    ]


def name(text: str) -> str:
    """A name on one line: visible and bounded."""
    return _cut(visible(text), MAX_NAME, 0)


def _head(found: dict[str, Any], facts: dict[str, Any]) -> list[str]:
    traits = facts["traits"]
    reviewed = "" if traits["reviewed"] else ", not reviewed"
    source = facts["labels_source"]
    fields = {
        "approval": found["id"],
        "state": f"{found['state']}, until {iso(found['expires_at'])}",
        "action": f"{found['kind']} {found['upstream']}/{found['name']}"
        f" ({traits['effect']}, {traits['reach']} world{reviewed})",
        "workload": f"{found['workload']}, owner {found['owner']}",
        "run": found["run"],
        "run labels": labels(facts["labels"]) + (f", raised by {source}" if source else ""),
        "must agree": ", ".join(_approver(a, found) for a in found["approvers"]),
        "digest": found["digest"],
        "code": binding_code(found["id"], found["digest"]),
    }
    return [f"{key.ljust(10)}  {_cut(visible(text), HEAD, TAIL)}" for key, text in fields.items()]


def _approver(approver: str, found: dict[str, Any]) -> str:
    if approver == NOT_OWNER:
        return f"and nobody for them who answers for {found['owner']}"
    who = f"{approver} ({found['owner']})" if approver == OWNER else approver
    return who if approver in found["missing"] else f"{who}, has agreed"


def _arguments(found: dict[str, Any], flow: dict[str, Any]) -> Iterator[str]:
    if found["arguments"] is None:
        yield "  (erased: nobody can see them any more)"
        return
    known: dict[str, list[dict[str, Any]]] = {}
    for entry in flow["arguments"]:
        known.setdefault(entry["path"], []).append(entry)
    values = [*leaves(found["arguments"], "", "")]
    values.sort(key=lambda leaf: leaf[0] not in known)
    values += [("", f"(parameter) {shown}", v) for _, shown, v in leaves(found["params"], "", "")]
    if not values:
        yield "  (none)"
    seen: set[str] = set()
    for path, shown, value in values[:MAX_LINES]:
        yield f"  {shown} = {quoted(value)}"
        entries = known.get(path, []) if path not in seen else []
        seen.add(path)
        for entry in entries:
            yield f"      {origin(entry)}"
            if entry["role"] in KEY_ROLES and isinstance(value, str) and not value.isascii():
                yield f"      beyond ASCII, look twice: {_cut(json.dumps(value), HEAD, TAIL)}"
    yield from _cut_out(values, known)
    for path, entries in known.items():
        if path not in seen:
            yield from (f"  {name(path)}: {origin(entry)}" for entry in entries[:MAX_LINES])
            yield from _more(entries)


def _cut_out(values: Sequence[tuple[str, str, Any]], known: Container[str]) -> Iterator[str]:
    """What of them is not on the screen."""
    if len(values) > MAX_LINES:
        keys = sum(path in known for path, _, _ in values[MAX_LINES:])
        of_them = f", {keys:,} of them key arguments" if keys else ""
        yield f"  ({len(values) - MAX_LINES:,} more values{of_them}; --json prints all)"


def leaves(value: Any, path: str = "", shown: str = "") -> Iterator[tuple[str, str, Any]]:
    """Every value of an action with its path, and with the path as it is shown."""
    match value:
        case dict() if value:
            for key, inner in value.items():  # pyright: ignore[reportUnknownVariableType]
                key_text = str(key)  # pyright: ignore[reportUnknownArgumentType]
                is_plain = key_text.isascii() and key_text.isidentifier()
                # In ASCII: a name with a foreign letter must not look like another one.
                told = key_text if is_plain else json.dumps(key_text)
                dot = "." if path else ""
                yield from leaves(
                    inner, f"{path}{dot}{key_text}", f"{shown}{dot}{_cut(told, MAX_NAME, 0)}"
                )
        case list() if value:
            for number, inner in enumerate(value):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
                yield from leaves(inner, f"{path}[{number}]", f"{shown}[{number}]")
        case _ if path:
            yield path, _cut(shown, 2 * MAX_NAME, 0), value
        case _:
            return


def origin(entry: dict[str, Any]) -> str:
    """Where one value came from, in words."""
    words = [f"{entry['role']}: "]
    if entry["field"] or entry["record"]:
        words.append(f"first seen in field {name(entry['field']) or '?'}")
        words.append(f" of record {name(entry['record'])}, " if entry["record"] else ", ")
    words.append(_ORIGINS[Origin(entry["origin"])])
    if entry["untrusted"]:
        words.append("; also named in words that somebody wrote")
    if entry["confidentiality"]:
        level = "internal" if entry["confidentiality"] == 1 else "secret"
        words.append(f"; from a field that is {level}")
    return "".join(words)


def _reason(reason: dict[str, Any]) -> str:
    text = f": {reason['text']}" if reason["text"] else ""
    return _cut(visible(f"{reason['policy']}{text}"), HEAD, TAIL)


def concern(word: str) -> str:
    """A concern with what it means."""
    return f"{word}: {CONCERNS[Concern(word)]}"


def _answer(answer: dict[str, Any]) -> str:
    said = "yes" if answer["yes"] else "no"
    by = f"{name(answer['author'])} ({name(answer['proof'])}), {iso(answer['at'])}"
    reason = f": {quoted(answer['reason'])}" if answer["reason"] else ""
    return f"{said} by {by}{reason}"


def _on_yes(found: dict[str, Any]) -> list[str]:
    if found["state"] != "pending":
        return []
    lines = [
        f"Exactly this passes once, before {iso(found['expires_at'])}, if nothing gets worse.",
    ]
    values: list[dict[str, Any]] = found["endorses"]
    if values:
        lines.append("Vouched for in this run:")
        lines += [f"  {v['role']} {quoted(v['value'])}" for v in values[:MAX_LINES]]
        lines += _more(values)
        lines.append(
            f"--remember 30d also puts recipients, accounts and addresses on the list of"
            f" {name(found['owner'])}."
        )
    return lines


def _are_cut(found: dict[str, Any]) -> str:
    """Whether any value is longer than its line, and where all of it is."""
    values = (*leaves(found["arguments"]), *leaves(found["params"]))
    is_cut = any(len(json.dumps(value, ensure_ascii=False)) > HEAD + TAIL for *_, value in values)
    return ", cut where they are long (--json prints all)" if is_cut else ""


def _more(values: Sequence[Any]) -> list[str]:
    """How many there are beyond those that are shown."""
    over = len(values) - MAX_LINES
    return [f"  ({over:,} more; --json prints all)"] if over > 0 else []


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return ["", title, *(f"  {line}" for line in lines)] if lines else []


def quoted(value: Any) -> str:
    """A value in quotes, on one line, visible and bounded."""
    return _cut(visible(json.dumps(value, ensure_ascii=False)), HEAD, TAIL)


def _cut(text: str, head: int, tail: int) -> str:
    if len(text) <= head + tail:
        return text
    end = text[-tail:] if tail else ""
    return f"{text[:head]} <<{len(text) - head - tail:,} characters left out>> {end}".rstrip()


__all__ = [
    "CONCERNS",
    "HEAD",
    "MAX_LINES",
    "MAX_NAME",
    "TAIL",
    "concern",
    "leaves",
    "name",
    "origin",
    "quoted",
    "screen",
]
