"""Amounts and keys, read out of arguments."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midflight.domain.monitor import SATURATED, Monitor, MonitorKind, Per, Selection
from midflight.domain.monitor_values import (
    MAX_KEYS,
    MAX_VALUES,
    bound_to,
    keys_of,
    where,
)
from midflight.domain.monitor_values import amount_of as amount_at
from midflight.domain.traits import Argument, Role, Traits

KEY = bytes(32)


def monitor(kind: MonitorKind = MonitorKind.SUM, **more: Any) -> Monitor:
    return Monitor(name="m", kind=kind, per=Per.RUN, steps=(Selection(),), **more)


def amount_of(declared: Monitor, arguments: dict[str, Any], traits: Traits) -> int:
    look = where(declared, traits)
    assert look is not None
    return amount_at(declared, look, arguments)


def amount(value: Any, places: int = 2) -> int:
    return amount_of(monitor(argument="a", places=places), {"a": value}, Traits())


@pytest.mark.parametrize(
    ("value", "units"),
    [
        (12, 1200),
        (12.5, 1250),
        (0.1, 10),
        (0.29, 29),  # 0.29 * 100 is 28.999… in floats
        ("12.50", 1250),
        ("+12.5", 1250),
        (-12.5, 1250),
        ("-0.01", 1),
        (0.001, 1),
        (12.501, 1251),
        ([1, 2.5, "3"], 650),
        (0, 0),
        (1e16, 10**18),
        (1e-300, 1),
        (2**80, SATURATED),
        (1e300, SATURATED),
        (SATURATED, SATURATED),
        ("9" * 40, SATURATED),
        ("$12.50", 1250),
        ("12.5 EUR", 1250),
        ("EUR 12", 1200),
        ("$€1", SATURATED),
        (True, SATURATED),
        ("", SATURATED),
        ("1e3", SATURATED),
        ("1,000", SATURATED),
        ("٣", SATURATED),
        (float("nan"), SATURATED),
        (float("inf"), SATURATED),
        ({}, SATURATED),
        ([[1], [2]], 300),
        ({"value": "12.50", "currency": "EUR"}, 1250),
        ({"value": "sixty", "extra": 0}, SATURATED),
        ({"currency": "EUR"}, SATURATED),
        (None, SATURATED),
    ],
)
def test_a_number_is_taken_as_it_is_written_and_the_rest_is_not_known(
    value: Any, units: int
) -> None:
    assert amount(value) == units


@given(st.floats(-1e18, 1e18), st.integers(0, 6))
def test_a_float_is_what_its_shortest_decimal_says(value: float, places: int) -> None:
    units = abs(Decimal(repr(value))) * 10**places
    assert amount(value, places) == min(math.ceil(units), SATURATED)


@given(st.integers(-(10**15), 10**15), st.integers(0, 6))
def test_minor_units_are_exact_however_they_are_written(minor: int, places: int) -> None:
    text = f"{abs(minor):0{places + 1}d}"
    written = f"{text[: len(text) - places]}.{text[len(text) - places :]}".rstrip(".")
    assert amount(written, places) == abs(minor)
    if abs(minor) < 10**12:
        assert amount(float(written), places) == abs(minor)


def test_an_argument_that_the_declaration_names_and_a_call_has_not_is_not_known() -> None:
    assert amount_of(monitor(argument="a"), {"b": 1}, Traits()) == SATURATED


def test_a_role_is_where_the_traits_say_and_absent_is_nothing() -> None:
    traits = Traits(
        arguments=(
            Argument(path="items[*].price", role=Role.AMOUNT),
            Argument(path="tip", role=Role.AMOUNT),
            Argument(path="amount", role=Role.CONTENT),
        )
    )
    sums = monitor(role=Role.AMOUNT, places=2)
    given_ = {"items": [{"price": 1}, {"price": 2.5}, {}], "tip": 0.5, "amount": 900}
    assert amount_of(sums, given_, traits) == 400
    assert amount_of(sums, {"note": "x"}, traits) == 0
    assert amount_of(sums, {"tip": "much"}, traits) == SATURATED


@pytest.mark.parametrize("name", ["amount_cents", "cents", "total.amount_minor", "price-cents"])
def test_what_is_called_cents_is_in_hundredths_already(name: str) -> None:
    traits = Traits(arguments=(Argument(path=name, role=Role.AMOUNT),))
    arguments: Any = 1250
    for part in reversed(name.split(".")):
        arguments = {part: arguments}
    assert amount_of(monitor(role=Role.AMOUNT, places=2), arguments, traits) == 1250
    assert amount_of(monitor(role=Role.AMOUNT, places=0), arguments, traits) == 13
    assert amount_of(monitor(role=Role.AMOUNT, places=3), arguments, traits) == 12_500


def test_more_values_than_are_looked_at_are_not_known() -> None:
    assert amount([0] * MAX_VALUES) == 0
    assert amount([0] * (MAX_VALUES + 1)) == SATURATED


def keys(arguments: dict[str, Any], **more: Any) -> tuple[tuple[str, ...], int]:
    given_: dict[str, Any] = {"key": KEY, "of": "m", "scope": "run_a", "salt": "s"} | more
    bound = bound_to(given_["of"], given_["scope"], given_["salt"])
    look = where(monitor(MonitorKind.DISTINCT, **given_.pop("by", {"argument": "to"})), Traits())
    assert look is not None
    return keys_of(look, arguments, key=given_["key"], bound=bound)


def test_equal_values_have_one_key_and_different_ones_two() -> None:
    assert keys({"to": "a"}) == keys({"to": ["a", "a"]})
    assert keys({"to": "a"}) != keys({"to": "A"})
    assert keys({"to": 1}) != keys({"to": "1"})
    assert keys({"to": {"x": 1, "y": 2}}) == keys({"to": {"y": 2, "x": 1}})
    assert keys({"to": ["a", "b"]})[0] == (*keys({"to": "a"})[0], *keys({"to": "b"})[0])
    assert keys({"to": None}) == keys({}) == ((), 0)


def test_a_key_tells_nothing_without_its_secrets_and_differs_by_scope() -> None:
    [one] = keys({"to": "boss@example.org"})[0]
    assert "boss" not in one
    assert len(one) == 24
    others = [keys({"to": "boss@example.org"}, **more)[0][0] for more in (
        {"key": b"1" * 32}, {"scope": "run_b"}, {"salt": "t"}, {"of": "n"}
    )]  # fmt: skip
    assert len({one, *others}) == 5


def test_recipients_in_one_text_are_several() -> None:
    by = {"role": Role.RECIPIENT}
    one = keys({"to": "a@x.org, b@x.org;c@x.org\n d@x.org ,"}, by=by)
    assert one == keys({"to": ["a@x.org", "b@x.org", "c@x.org", "d@x.org"]}, by=by)
    assert len(one[0]) == 4
    assert len(keys({"to": "a@x.org, b@x.org"})[0]) == 1  # a declaration that names an argument


def test_more_recipients_than_are_looked_at_are_not_known() -> None:
    assert keys({"to": ["a"] * (MAX_VALUES + 1)})[1] == SATURATED


def test_values_beyond_those_that_are_told_apart_count_each() -> None:
    found, beyond = keys({"to": [f"p{n}" for n in range(MAX_KEYS + 5)]})
    assert (len(found), beyond) == (MAX_KEYS, 5)
