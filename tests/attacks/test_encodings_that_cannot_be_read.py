"""Spellings that stop whoever looks for a value: no bytes for a character, no room, no time."""

from __future__ import annotations

import base64
import random
import string
import time

import pytest

from midflight.domain.canary import CORE, Canary, CanaryShape, Watch
from midflight.domain.decision import Obligation
from midflight.domain.flow.yields import Reviewed
from midflight.domain.obligation import REDACTED, owed
from midflight.domain.redaction import redact_result
from midflight.domain.traits import Effect, Reach, Traits
from midflight.domain.unfolding import readings

WHOLE = "abcdefghijkmnpq2rstu3vwx4z"[:CORE]
SECRETS = owed([Obligation(name="redact", value="secret")])
REVIEWED = Reviewed(Traits(effect=Effect.READ, reach=Reach.CLOSED, reviewed=True))


def watch() -> Watch:
    key = bytes(32)
    windows = Watch(key).windows(WHOLE)
    return Watch(
        key,
        [
            Canary(
                name="one", shape=CanaryShape.CREDENTIAL, upstream="", windows=windows, by="", at=0
            )
        ],
    )


@pytest.mark.parametrize(
    "text", ["\ud800 100% of it", "\\ud800%41 and %25", "&#xd800; \\udfff & % +"]
)
def test_half_a_character_does_not_stop_who_looks(text: str) -> None:
    # What a stranger wrote into a mail would keep the whole mailbox from being read.
    assert list(readings(text))
    encoded = base64.b64encode(WHOLE.encode()).decode()
    assert watch().within([f"{text} {encoded}"]) == {"one"}
    result = {"content": [{"type": "text", "text": text}], "structuredContent": {"password": "x9"}}
    assert "x9" not in str(redact_result(result, REVIEWED, SECRETS))


@pytest.mark.parametrize("escapes", ["%41", "&amp;", "\\x41", "%41 &amp; \\x41"])
def test_padding_leaves_no_canary_unread(escapes: str) -> None:
    padding = escapes + " lorem ipsum" * 150_000
    encoded = base64.b64encode(WHOLE.encode()).decode()
    assert watch().within([f"{padding} {encoded}"]) == {"one"}
    assert watch().within([f"{encoded} {padding}"]) == {"one"}
    twice = base64.b64encode(encoded.encode()).decode()
    assert watch().within([f"{padding} {twice}"]) == {"one"}


def test_an_upstream_does_not_choose_how_long_everybody_waits_for_a_redaction() -> None:
    draw = random.Random(1)
    secrets = ["".join(draw.choices(string.ascii_letters, k=20)) for _ in range(500)]
    text = "lorem ipsum dolor " * 10_000
    result = {
        "structuredContent": {"all": [{"password": secret} for secret in secrets]},
        "content": [{"type": "text", "text": f"{text}{n}"} for n in range(40)],
    }
    began = time.perf_counter()
    plain = redact_result(result, REVIEWED, SECRETS)
    assert time.perf_counter() - began < 3  # half a minute without a bound
    assert not [secret for secret in secrets if secret in str(plain)]
    assert plain["content"][-1]["text"] == REDACTED
