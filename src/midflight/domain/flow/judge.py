"""The judgement of flow: where an action's values came from, and what speaks against it.

Only effects are judged, and reads that go out with an address. What it says is facts for policy:
which concerns ask a person and which forbid is written in Cedar.
Below: `keys.py`, `content.py`, `asking.py`. Above: `services/flow.py`.
"""

from __future__ import annotations

import re

from midflight.domain.flow.asking import asked
from midflight.domain.flow.atoms import Shape, shape
from midflight.domain.flow.content import judge_content
from midflight.domain.flow.index import RunIndex
from midflight.domain.flow.intent import Reading
from midflight.domain.flow.keys import judge_container, judge_key, judge_setting
from midflight.domain.flow.subject import (
    Circumstances,
    Matter,
    Subject,
)
from midflight.domain.labels import BOTTOM
from midflight.domain.provenance import NO_FLOW, RANK, Concern, FlowFacts, Origin
from midflight.domain.traits import (
    CONTENT_ROLES,
    KEY_ROLES,
    Effect,
    Reach,
    Role,
)
from midflight.domain.value import JSONObject

_STATEMENT = (
    r"\s*(?:delete\s+from|drop\s+\w+|update\s+\S+\s+set|insert\s+into|alter\s+\w+"
    r"|truncate\s+\w+|grant\s+\w+|create\s+\w+|merge\s+into|replace\s+into)\b"
)
# The second is seldom tried; one pattern for both takes three times as long (measured).
_FIRST = re.compile(_STATEMENT, re.IGNORECASE)
_LATER = re.compile(f"[;(]{_STATEMENT}", re.IGNORECASE)
_SHORTEST = 8
# A setting or a time of one of these shapes carries nothing.
_PLAIN = frozenset({Shape.WORD, Shape.NUMBER, Shape.DATE})


def is_plain_read(subject: Subject, arguments: JSONObject) -> bool:
    """Whether an action only reads in a closed world, of which flow has nothing to say."""
    traits = subject.traits
    return (
        traits.effect is Effect.READ
        and traits.reach is Reach.CLOSED
        and not any(map(_writes, arguments.values()))
    )


def judge(
    subject: Subject,
    arguments: JSONObject,
    *,
    index: RunIndex,
    reading: Reading,
    about: Circumstances,
) -> FlowFacts:
    """What flow says about an action."""
    if is_plain_read(subject, arguments):
        return NO_FLOW
    traits = subject.traits
    read = traits.effect is Effect.READ
    matter = Matter(subject, arguments, index=index, reading=reading, about=about)
    if read and traits.reach is Reach.CLOSED:
        return _statement(matter)
    for part in matter.parts:
        if part.role is Role.SETTING and not read and matter.steered:
            judge_setting(matter, part)
        if part.role in KEY_ROLES:
            if not read or part.role in (Role.URL, Role.RECIPIENT):
                judge_key(matter, part)
        elif part.role in CONTENT_ROLES or (not read and not _is_plain(part.text)):
            judge_content(matter, part)
    if matter.effect is Effect.DELETE:
        judge_container(matter)
    is_asked = read or asked(matter)
    origins = [a.origin for a in matter.found if a.role in KEY_ROLES]
    if matter.cut:
        matter.concerns.add(Concern.KEY_UNKNOWN)
        origins.append(Origin.MODEL)
    return FlowFacts(
        arguments=tuple(matter.found),
        origin=max(origins, key=RANK.__getitem__, default=Origin.INTENT),
        asked=is_asked,
        concerns=tuple(sorted(matter.concerns)),
        carries=BOTTOM,
    )


def _is_plain(text: str) -> bool:
    """Whether a setting or a time carries nothing: one word, number or date."""
    return shape(text) in _PLAIN and len(text.split()) < 2


def _writes(value: object) -> bool:
    """Whether an argument of a read is, or ends in, a statement that writes (SQL)."""
    if not isinstance(value, str) or len(value) <= _SHORTEST:
        return False
    return _FIRST.match(value) is not None or (
        (";" in value or "(" in value) and _LATER.search(value) is not None
    )


def _statement(matter: Matter) -> FlowFacts:
    """A read by name that is given a statement that writes does what that says."""
    if not (matter.steered or matter.index.phrase_seen):
        return NO_FLOW
    return FlowFacts(
        arguments=(),
        origin=Origin.MODEL,
        asked=False,
        concerns=(Concern.EFFECT_NOT_ASKED,),
        carries=BOTTOM,
    )


__all__ = ["is_plain_read", "judge"]
