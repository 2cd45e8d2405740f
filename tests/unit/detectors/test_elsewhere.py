"""One token in two places, and one that is shown without what it is bound to."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from plain_kit import Told, event, said

from midflight.domain.finding import Strength
from midflight.services.detectors.elsewhere import BOTH_AFTER, MOVED_AFTER, Elsewhere


def at(peer: str, token: str = "tok_1", **given: Any) -> Any:
    return event(peer=peer, token=token, **given)


def strengths(*events: Any, one_place: str = "") -> list[Strength]:
    places = [ipaddress.ip_network(one_place)] if one_place else []
    return [found.strength for found in said(Elsewhere(one_place=places), events)]


def test_one_place_says_nothing() -> None:
    assert strengths(*(at("192.0.2.1") for _ in range(50))) == []


def test_a_token_that_moves_is_fair_and_one_in_two_hands_is_strong() -> None:
    found = said(Elsewhere(), [at("192.0.2.1"), at("198.51.100.7"), at("192.0.2.1")])
    assert [(each.strength, each.after) for each in found] == [
        (Strength.FAIR, MOVED_AFTER),
        (Strength.STRONG, BOTH_AFTER),
    ]
    assert "192.0.2.1" in found[0].usual


def test_a_traveller_is_not_in_two_hands() -> None:
    moves = [at(f"192.0.2.{n}") for n in range(1, 6)]
    assert strengths(*moves) == [Strength.FAIR]


def test_addresses_of_one_ipv6_network_are_one_place() -> None:
    assert strengths(at("2001:db8::1"), at("2001:db8::2"), at("2001:db8::1")) == []
    assert strengths(at("2001:db8::1"), at("2001:db8:0:1::1")) == [Strength.FAIR]


def test_an_address_and_its_mapped_form_are_one_place() -> None:
    assert strengths(at("192.0.2.1"), at("::ffff:192.0.2.1"), at("192.0.2.1")) == []


def test_a_named_network_is_one_place() -> None:
    moves = [at(f"10.1.2.{n}") for n in range(5)]
    assert strengths(*moves, one_place="10.0.0.0/8") == []
    assert strengths(*moves, at("192.0.2.1"), one_place="10.0.0.0/8") == [Strength.FAIR]


def test_another_local_user_is_another_place() -> None:
    assert strengths(at("uid:1000"), at("uid:1001")) == [Strength.FAIR]


def test_a_run_under_two_tokens_in_two_places_says_less() -> None:
    first, second = at("192.0.2.1", "tok_1"), at("198.51.100.7", "tok_2")
    assert strengths(first, second, first) == [Strength.WEAK, Strength.FAIR]


def test_callers_without_a_place_are_passed_by() -> None:
    assert strengths(at(""), at("192.0.2.1"), at("")) == []


SHOWN = {"workload": "w", "run": "run_1", "token": "tok_1", "peer": "192.0.2.9"}


def test_a_bound_token_without_its_key_is_strong_and_told_once_a_place_and_reason() -> None:
    elsewhere, told = Elsewhere(), Told()
    elsewhere.watch(told)
    for _ in range(1_000):
        elsewhere.stolen(**SHOWN, why="no key")
    elsewhere.stolen(**SHOWN, why="no certificate")
    assert [(name, each.strength) for name, each, _ in told.found] == [
        ("elsewhere", Strength.STRONG),
        ("elsewhere", Strength.STRONG),
    ]
    assert told.found[0][2]["run"] == "run_1"


def test_from_where_its_holder_is_it_may_be_a_client_that_is_set_up_badly() -> None:
    elsewhere, told = Elsewhere(), Told()
    elsewhere.watch(told)
    elsewhere.see(at("192.0.2.9"))
    elsewhere.stolen(**SHOWN, why="used before")
    elsewhere.stolen(**SHOWN | {"peer": "198.51.100.7"}, why="used before")
    assert [each.strength for _, each, _ in told.found] == [Strength.FAIR, Strength.STRONG]


def test_a_flood_of_places_writes_a_handful_of_findings() -> None:
    elsewhere, told = Elsewhere(), Told()
    elsewhere.watch(told)
    for number in range(500):
        elsewhere.stolen(**SHOWN | {"peer": f"2001:db8:{number:x}::1"}, why="no key")
    assert len(told.found) == 4


@pytest.mark.parametrize("peer", ["", "nonsense", "999.1.1.1", "uid:0", "fe80::1%eth0"])
def test_any_peer_is_some_place(peer: str) -> None:
    Elsewhere().see(at(peer))
    strengths(at(peer), at("192.0.2.1"))
