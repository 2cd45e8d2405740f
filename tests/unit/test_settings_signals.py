"""`[[signals]]` and `[elsewhere]`: what may stand there."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from midflight.apps.settings import Settings
from midflight.apps.settings_elsewhere import ElsewherePlaces
from midflight.apps.settings_signals import SignalSection
from midflight.domain.finding import Strength
from midflight.domain.identity import Workload
from midflight.domain.signal import SignalSource

GOOD: dict[str, Any] = {"name": "classifier", "secret": "env:A", "owners": ["team-*"]}


def test_a_source_is_read_and_speaks_softly_unless_told() -> None:
    source = SignalSection(**GOOD).source()
    assert (source.max_strength, source.per_minute) == (Strength.FAIR, 60)


@pytest.mark.parametrize(
    "more",
    [
        {"name": "Classifier"},
        {"name": "a/b"},
        {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
        {"secret": 1},
        {"previous_secret": "written-here"},
        {"owners": []},
        {"max_strength": "fatal"},
        {"per_minute": 0},
        {"seceret": "env:B"},
    ],
)
def test_what_is_wrong_is_refused_without_repeating_a_secret(more: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        SignalSection(**GOOD | more)
    assert "MfKQ9r8" not in str(caught.value)


def test_names_are_different() -> None:
    with pytest.raises(ValidationError, match="the same name"):
        Settings(signals=(GOOD, GOOD))  # type: ignore[arg-type] -- pydantic reads tables


@pytest.mark.parametrize("place", ["10.0.0.1/8", "office", 10, ""])
def test_a_place_is_a_network(place: Any) -> None:
    assert ElsewherePlaces(one_place=("10.0.0.0/8", "2001:db8::/32")).one_place  # type: ignore[arg-type] -- pydantic reads text
    with pytest.raises(ValidationError, match="is not a network"):
        ElsewherePlaces(one_place=(place,))


@pytest.mark.parametrize(
    ("workloads", "owners", "may"),
    [
        (("spiffe://a/agents/*",), (), True),
        ((), ("team-*",), True),
        (("spiffe://a/agents/*",), ("team-*",), True),
        (("spiffe://a/agents/*",), ("payroll",), False),
        (("spiffe://a/payroll/*",), ("team-*",), False),
        (("spiffe://a/agents",), (), False),
        ((), (), False),
    ],
)
def test_both_patterns_must_match_where_both_are_given(
    workloads: tuple[str, ...], owners: tuple[str, ...], may: bool
) -> None:
    workload = Workload(id="spiffe://a/agents/one", owner="team-one", escalation="x", review_by=1)
    source = SignalSource(name="x", workloads=workloads, owners=owners)
    assert source.may_speak_of(workload) is may


def test_a_secret_that_is_replaced_has_an_end() -> None:
    before = {"previous_secret": "env:B"}
    moment = datetime(2027, 1, 31, 12, tzinfo=UTC)
    for end in (moment, "2027-01-31T13:00:00+01:00"):
        section = SignalSection(**GOOD | before | {"previous_until": end})
        assert section.previous_until == moment.timestamp()
    for wrong in (before, {"previous_until": moment}):
        with pytest.raises(ValidationError, match="previous_secret and previous_until"):
            SignalSection(**GOOD | wrong)


@pytest.mark.parametrize("end", ["2027-01-31", "2027-01-31T12:00:00", "never", 1, True, None])
def test_an_end_is_a_moment_with_its_zone(end: Any) -> None:
    with pytest.raises(ValidationError, match=r"time with its zone|needs previous_secret"):
        SignalSection(**GOOD | {"previous_secret": "env:B", "previous_until": end})
