"""Whatever the text, its guises can be read; and what is hidden in one is found at any place."""

from __future__ import annotations

import base64

from hypothesis import given
from hypothesis import strategies as st

from midflight.domain.canary import Canary, CanaryShape, Watch
from midflight.domain.guises import MAX_UNPACKED, guises

CORE = "k7m2q9xw4tz8hn3vc6yjb5pg2r"
KEY = bytes(range(32))
PLANTED = Canary(
    name="planted",
    shape=CanaryShape.CREDENTIAL,
    upstream="",
    windows=Watch(KEY).windows(CORE),
    by="ann",
    at=0,
)
WATCH = Watch(KEY, [PLANTED])
_HARD = st.text(alphabet="=\\u{}0x9afAz+/_- ,~!%&\x00\ud800é", max_size=200)


@given(st.text(max_size=200) | _HARD)
def test_every_text_has_guises_and_none_is_much_longer(text: str) -> None:
    for guise in guises(text):
        assert len(guise) <= max(len(text), MAX_UNPACKED)


@given(st.text(max_size=40) | _HARD, st.text(max_size=40))
def test_a_canary_in_base64_is_found_behind_any_text(before: str, behind: str) -> None:
    hidden = base64.b64encode(CORE.encode()).decode()
    assert WATCH.within(f"{before}{hidden} {behind}") == {"planted"}


@given(st.lists(st.integers() | st.booleans() | st.none() | st.text(max_size=30), max_size=40))
def test_any_list_can_be_looked_through(items: list[object]) -> None:
    assert WATCH.within(items) == frozenset()  # type: ignore[arg-type]  # JSON of any kind
