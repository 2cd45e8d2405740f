"""Forms of text: total, settled after one turn, and never a way from suspicion to trust."""

from __future__ import annotations

import base64
from urllib.parse import quote

from flow_kit import Desk, office_tool
from hypothesis import assume, given
from hypothesis import strategies as st

from midflight.domain.flow.atoms import grouped, looks, same, shape, telling, tokens
from midflight.domain.flow.text import MAX_DECODED, decodings, skeleton, strict
from midflight.domain.provenance import RANK, Origin

# Any text: lone surrogates, marks without a letter, invisible characters, all scripts.
marks = st.text(st.sampled_from("\u0301\u0327\u0345\u200b\u202e\u00ad\u3164\ufe0f\u0130\u0131"))
anything = st.one_of(
    st.text(st.characters()),
    st.text(st.characters(categories=["Cs", "Mn", "Lu", "Lt", "Cf", "Nd"])),
    st.tuples(marks, st.text(max_size=5), marks).map("".join),
)
LOOKALIKES = {"a": "а", "e": "е", "o": "о", "c": "с", "p": "р", "x": "х", "i": "і", "s": "ѕ"}


def wide(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


def percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


ENCODINGS = {
    "percent": percent,
    "percent where needed": lambda text: quote(text, safe=""),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "hex": lambda text: text.encode().hex(),
    "upper case": str.upper,
    "full width": wide,
    "look-alikes": lambda text: "".join(LOOKALIKES.get(c, c) for c in text),
    "zero width": "\u200b".join,
    "a soft hyphen": lambda text: text[:3] + "\u00ad" + text[3:],
    "a combining mark": lambda text: text[:3] + "\u0301" + text[3:],
}
VALUES = [
    "eve@post.example",
    "GB29NWBK60161331926819",
    "ev-2291-x",
    "post.example/collect",
    "@eve77",
]
HOLDERS = {
    "trusted": lambda value: {"items": [{"item_id": value}]},
    "untrusted": lambda value: {"text": f"one, two, {value} and whatever else somebody says"},
}


def origin(desk: Desk, value: str) -> Origin:
    return desk.judge(office_tool("send_mail"), recipients=[value]).arguments[0].origin


@given(anything)
def test_the_forms_are_total_and_settled(text: str) -> None:
    for form in (strict, skeleton):
        once = form(text)
        assert form(once) == once


@given(anything)
def test_what_is_the_same_looks_the_same(text: str) -> None:
    assert skeleton(strict(text)) == skeleton(text)


@given(anything)
def test_decoding_ends_and_never_raises(text: str) -> None:
    assert len(decodings(text)) <= MAX_DECODED


@given(anything)
def test_atoms_are_total(text: str) -> None:
    for token in [*tokens(text), text, text.strip()]:
        same(token, shape(token))
        looks(token, shape(token))
    list(telling(text))
    list(grouped(text))


@given(
    st.sampled_from(VALUES), st.sampled_from(sorted(ENCODINGS)), st.sampled_from(sorted(HOLDERS))
)
def test_a_value_gains_no_trust_by_an_encoding(value: str, how: str, holder: str) -> None:
    desk = Desk("Summarize it")
    desk.sees(HOLDERS[holder](value), selected=True)
    written = ENCODINGS[how](value)
    assume(same(written, shape(written)) != same(value, shape(value)))
    assert RANK[origin(desk, written)] >= RANK[origin(desk, value)]
    assert RANK[origin(desk, written)] >= RANK[Origin.UNTRUSTED]


@given(st.sampled_from(VALUES), st.sampled_from(sorted(ENCODINGS)))
def test_a_value_of_a_text_gains_no_trust_by_the_encoding_it_stands_in(
    value: str, how: str
) -> None:
    desk = Desk("Summarize it")
    desk.sees(HOLDERS["untrusted"](ENCODINGS[how](value)))
    assert RANK[origin(desk, value)] >= RANK[Origin.UNTRUSTED]


@given(st.sampled_from(VALUES), st.permutations(sorted(HOLDERS)))
def test_the_order_of_results_does_not_matter(value: str, order: list[str]) -> None:
    found = set()
    for holders in (order, order[::-1]):
        desk = Desk("Summarize it")
        for holder in holders:
            desk.sees(HOLDERS[holder](value), selected=True)
        facts = desk.judge(office_tool("send_mail"), recipients=[value])
        found.add((facts.concerns, facts.arguments[0].origin, facts.arguments[0].untrusted))
    assert len(found) == 1
