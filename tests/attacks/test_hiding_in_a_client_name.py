"""A client calls itself by letters that nobody sees, so that a person lets the wrong one act."""

from __future__ import annotations

import pytest

from midflight.wire.oauth.pages import consent

# Letters, marks and symbols without a shape: Python calls most of them printable.
UNSEEN = ("\u3164", "\uffa0", "\u115f", "\u17b4", "\u034f", "\ufe0f", "\U000e0100", "\u2800")
TURNING = ("\u202e", "\u2066", "\u200f", "\u061c", "\u200b", "\ufeff", "\x1b", "\n")


@pytest.mark.parametrize("letter", UNSEEN + TURNING, ids=ascii)
def test_what_nobody_sees_in_a_name_is_spelled_out(letter: str) -> None:
    page = consent(
        client=f"Payroll{letter}",
        client_id=f"https://client.example/{letter}",
        host=f"client.example{letter}",
        workload="spiffe://midflight.internal/agents/one",
        scopes=[f"mcp{letter}"],
        person=f"olivia{letter}",
        ticket="t",
        action="/authorize",
    )
    assert letter == "\n" or letter not in page
    assert f"Payroll\\{'u' if ord(letter) < 0x10000 else 'U'}" in page
