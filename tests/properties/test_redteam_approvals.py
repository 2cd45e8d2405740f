"""In a replay nothing that is challenged leaves without a real approval, used once.

Whatever is recorded, in whatever order, by whomever it was wanted: the ledger of the replay reads
as that of production would, and only the scorer's people decide.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from redteam_kit import World, case, read_card, replayed, step, tell

from midflight.apps.redteam.people import OWNER
from midflight.apps.redteam.verdicts import Answer
from midflight.domain.records import ApprovalAnswered, ApprovalAsked, Intent

STEPS = [
    read_card(),
    tell(),
    tell(injected=True),
    step("notify_reader", reader="zoe@example.org", words="Hello."),
    step("shred_card", number="7"),
]


@settings(max_examples=30, deadline=None)
@given(steps=st.lists(st.sampled_from(STEPS), min_size=1, max_size=7), remember=st.booleans())
def test_a_yes_is_an_answer_on_record_and_is_used_once_by_the_call_it_was_for(
    steps: list[dict[str, Any]], remember: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        (judged,), records = asyncio.run(replayed(world, [case("x", *steps)], remember=remember))
    asked = {one.approval: one for one in records if isinstance(one, ApprovalAsked)}
    answers = [one for one in records if isinstance(one, ApprovalAnswered)]
    intents = [one for one in records if isinstance(one, Intent)]
    yes = {one.approval for one in answers if one.yes}
    used = [one for one in intents if one.approval is not None]
    # Every yes is used, once, for what was asked; nothing else is.
    assert sorted(one.approval or "" for one in used) == sorted(yes)
    assert all(asked[one.approval or ""].digest == one.digest for one in used)
    assert {one.author for one in answers} <= {OWNER}
    assert {one.approval for one in answers} == set(asked)
    # What left is what was permitted unasked, and what a person let go.
    wanted = [one["from"] == "user" for one in steps]
    held = [one.answer is Answer.CHALLENGE for one in judged]
    assert len(yes) == sum(w and h for w, h in zip(wanted, held, strict=True))
    assert len(answers) - len(yes) == sum(h and not w for w, h in zip(wanted, held, strict=True))
    assert len(intents) == len(yes) + sum(one.answer is Answer.PERMIT for one in judged)
    assert sum(one.approvals for one in judged) == len(asked)
