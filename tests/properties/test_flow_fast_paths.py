"""What the hot path of flow does in a faster way says the same as the plain way."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit
from zlib import crc32

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from midflight.domain.flow.atoms import (
    CONTACTS,
    Shape,
    grouped,
    in_groups,
    link,
    looks,
    people,
    same,
    shape,
    telling,
    tokens,
)
from midflight.domain.flow.fields import Leaf, document, leaves
from midflight.domain.flow.index import SHORT
from midflight.domain.flow.intent import Reading
from midflight.domain.flow.judge import is_plain_read
from midflight.domain.flow.orders import PHRASE, phrase
from midflight.domain.flow.passages import PASSAGE, WINDOW, passages
from midflight.domain.flow.selecting import linked_records
from midflight.domain.flow.subject import STOP, pieces_of, subject
from midflight.domain.flow.text import skeleton, spaces_for, strict
from midflight.domain.traits import Effect, FieldKind, Reach, Traits
from midflight.services.flow_results import unechoed

LETTERS = "aZ09 ._/\\-,;'\"“|@:#?%&=\t\n\x1cßéа²"
texts = st.one_of(st.text(max_size=60), st.text(alphabet=LETTERS, max_size=60))
links = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "http://", "https://", "HTTPS://", "ftp://", "www."]),
    st.sampled_from(["a.example", "WWW.A.example", "a..b", "user@a.example", "a.example:80", ""]),
    st.text(alphabet="/aB1.-_%?#&=~é", max_size=8),
)


@given(texts)
def test_spaces_are_where_translate_puts_them(text: str) -> None:
    marks = "_./\\-“|"
    wide = str.maketrans(dict.fromkeys(marks, " "))
    assert spaces_for(marks)(text) == text.translate(wide)


@given(texts)
def test_a_phrase_is_counted_as_by_splitting(text: str) -> None:
    bare = text.strip()
    if bare:
        assert phrase(bare) == (len(re.split(r"[\s_./\\-]+", bare)) >= PHRASE)


@given(st.one_of(links, texts))
def test_a_link_is_the_same_as_by_the_library(token: str) -> None:
    try:
        parts = urlsplit(token if "://" in token else f"https://{token}")
        host = parts.netloc.lower().removeprefix("www.")
    except ValueError:
        assert link(token) == strict(token)
    else:
        query = f"?{parts.query}" if parts.query else ""
        assert link(token) == host + parts.path.rstrip("/") + query


@given(texts)
def test_both_forms_of_ascii_are_one_but_for_links(token: str) -> None:
    for kind in Shape:
        if token.isascii() and kind is not Shape.LINK:
            assert same(token, kind) == looks(token, kind)


@given(texts)
def test_names_in_an_address_are_those_between_its_joints(text: str) -> None:
    pieces = re.split(r"[._+-]", strict(text).partition("@")[0])
    assert people(text) == [piece for piece in pieces if piece.isalpha()]


@given(st.lists(st.sampled_from(["12 34 56 78 90", "2031-05-15 10:00", "x", "12", ",", "12-"])))
def test_without_digits_in_groups_there_is_no_number_in_groups(pieces: list[str]) -> None:
    text = " ".join(pieces)
    assert in_groups(text) or not list(grouped(text))
    assert in_groups(text) or re.search(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text) is None


STATEMENT = re.compile(
    r"(?:^|[;(])\s*(?:delete\s+from|drop\s+\w+|update\s+\S+\s+set|insert\s+into|alter\s+\w+"
    r"|truncate\s+\w+|grant\s+\w+|create\s+\w+|merge\s+into|replace\s+into)\b",
    re.IGNORECASE,
)
READS = subject("query", "", Traits(effect=Effect.READ, reach=Reach.CLOSED, reviewed=True))
SQL = [" ", "\n", ";", "(", "x", "select 1", "DELETE", "from t", "drop t", "update t set", "ſet"]


@given(st.lists(st.one_of(st.sampled_from(SQL), st.text(max_size=4)), max_size=8).map("".join))
def test_a_statement_that_writes_is_found_as_by_one_pattern(text: str) -> None:
    writes = len(text) > 8 and STATEMENT.search(text) is not None
    assert is_plain_read(READS, {"a": 1, "sql": text}) != writes


@given(st.text(max_size=12), st.text(alphabet="abİKſ_-. \u2126\u0958\u1fef1²", max_size=12))
def test_what_is_one_word_to_the_eye_has_no_pieces(text: str, odd: str) -> None:
    for each in (text, odd, text + odd):
        assert not each.isalnum() or len(list(pieces_of(each))) <= 1


@given(st.text(alphabet="abAB_-. 12", max_size=9))
def test_a_record_is_named_by_words_of_the_intent_as_by_all_pieces(text: str) -> None:
    reading = Reading(words=frozenset({"a", "b", "ab", "aa"}))
    found = [
        leaf
        for leaf in leaves({"name": text}, effect=False)
        if leaf.kind is not FieldKind.TEXT
        and leaf.shape not in {Shape.NUMBER, Shape.DATE}
        and leaf.shape not in CONTACTS
    ]
    for leaf in found:
        pieces = [p for p in pieces_of(leaf.exact) if p not in STOP and not p.isdigit()]
        if leaf.shape is Shape.ID and "." in leaf.exact:
            pieces = pieces[:-1]
        named = len(pieces) > 1 and all(p in reading.words for p in pieces)
        assert linked_records([leaf], reading) == (frozenset({1}) if named else frozenset())


HOST = re.compile(r"(?:[a-z0-9-]+\.)+[a-z]{2,24}(?::[0-9]+)?(?:[/?#].*)?\Z", re.IGNORECASE)
HOSTS = ["a", "B9", "-", ".", "example", "TXT", "py", ":80", "/", "?", "#", "x y", "\n", "K", "ı"]


@given(st.lists(st.sampled_from(HOSTS), max_size=8).map("".join))
def test_a_host_is_known_without_folding_of_case(token: str) -> None:
    if "." not in token or " " in token or "\n" in token or token.isdigit():
        return
    name = re.split("[/?#:]", token, maxsplit=1)[0]
    file = name.rpartition(".")[2].lower() in ("txt", "py") and "/" not in token
    assert (shape(token) is Shape.LINK) == (HOST.match(token) is not None and not file)


WORDS = ["a", "b", "c d", "e-f", "g_h", "i.", "É", "\x1c", "\x85", "²", "j2", "'", "\n", "\x7f"]


@given(st.one_of(texts, st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join)))
def test_fingerprints_are_those_of_the_smallest_in_each_window(text: str) -> None:
    words = re.findall(r"\w+", skeleton(text))
    hashes = [crc32(word.encode("utf-8", "surrogatepass")) for word in words]
    places = range(len(hashes) - PASSAGE + 1)
    if len(places) < WINDOW:
        kept = list(places)
    else:
        windows = [places[at : at + WINDOW] for at in range(len(places) - WINDOW + 1)]
        kept = [min(window, key=hashes.__getitem__) for window in windows]
        # Of equal ones the first is kept for as long as it is inside.
        for at in range(1, len(kept)):
            if kept[at - 1] in windows[at] and hashes[kept[at - 1]] == hashes[kept[at]]:
                kept[at] = kept[at - 1]
    found = [hash(tuple(hashes[at : at + PASSAGE])) for at in dict.fromkeys(kept)]
    assert passages(text) == found


def forms(text: str) -> tuple[str, str]:
    found = shape(text)
    return same(text, found), looks(text, found)


def unechoed_as_before(found: Sequence[Leaf], given: Sequence[str]) -> Iterator[Leaf]:
    whole = {form for text in given for form in forms(text.strip())}
    pieces = {
        form
        for text in given
        for token in (*tokens(text), *grouped(text))
        if (kind := shape(token)) is not Shape.WORD
        and not (kind is Shape.NUMBER and len(token) < SHORT)
        for form in forms(token)
    }
    for leaf in found:
        if not whole.isdisjoint(forms(leaf.text.strip())):
            continue
        if leaf.kind is FieldKind.TEXT:
            yield leaf
            continue
        if not pieces.isdisjoint(forms(leaf.text.strip())):
            continue
        kept = [token for token in tokens(leaf.text) if pieces.isdisjoint(forms(token))]
        if " " not in leaf.text or len(kept) == len(tokens(leaf.text)):
            yield leaf
        elif kept:
            text = " ".join(kept)
            kind = shape(text)
            yield msgspec.structs.replace(leaf, text=text, shape=kind, exact=same(text, kind))


SAID = [
    "ann@a.example",
    "AN-12",
    "ａｎ-12",
    "12",
    "12345",
    "done",
    "x y",
    "https://a.example/A",
    "é",
]
said = st.one_of(texts, st.lists(st.sampled_from(SAID), max_size=5).map(" ".join))


@given(st.dictionaries(st.sampled_from(["id", "status", "to", "body"]), said), st.lists(said))
def test_an_echo_is_left_out_as_before(result: dict[str, str], given: list[str]) -> None:
    found = leaves(result, effect=True)
    assert list(unechoed(found, given)) == list(unechoed_as_before(found, given))


@given(st.one_of(texts, st.text(alphabet="+12 -a@.é²", max_size=14)))
def test_only_what_has_a_space_or_is_a_contact_reaches_anybody(text: str) -> None:
    bare = text.strip()
    looks = shape(bare)
    if bare and " " not in bare and "\n" not in bare and looks not in CONTACTS:
        (leaf,) = leaves({"a": json.dumps([bare])}, effect=False)
        assert leaf.kind is not FieldKind.CONTACT
        whole = bare.replace("-", "").lstrip("+")
        number = [found for found in grouped(bare) if whole.endswith(found.lstrip("+"))]
        assert looks is not Shape.WORD or not bare[-1].isdigit() or not number


def distinct(members: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(members)) != len(members):
        raise ValueError
    return dict(members)


def document_as_before(text: str) -> Any:
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        value = msgspec.json.decode(text)
        json.loads(text, object_pairs_hook=distinct)
    except (ValueError, RecursionError):
        return None
    return value


documents = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
PIECES = ["{", "}", "[", "]", ",", ":", '"a"', '"A"', '"\\u0061"', "1", "1.0", " ", "\n", "-0", "é"]
SPELLED = ['{"a":1,"a":2}', '[{"a": 1, "\\u0061": 1}]', '{"a":{}, "b":{"a":1,"a":1}}']


@given(
    st.one_of(
        st.builds(
            json.dumps, documents, ensure_ascii=st.booleans(), indent=st.sampled_from([None, 1])
        ),
        documents.map(lambda value: json.dumps(value, separators=(",", ":"))),
        st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
        st.sampled_from(
            [*SPELLED, "[" * 400 + "]" * 400, "[" + "1" * 400 + "]", " [1]", "\xa0[1]"]
        ),
        st.text(max_size=8).map(lambda text: "[" + text),
    )
)
def test_a_document_in_a_string_is_one_as_by_both_parsers(text: str) -> None:
    was, now = document_as_before(text), document(text)
    assert (type(was), was) == (type(now), now)


def test_the_token_before_is_the_one_before_without_its_edges() -> None:
    assert telling("See file: 13, AbcDefGhiJkl and x1.") == [
        ("13", "file"),
        ("AbcDefGhiJkl", "13"),
        ("x1", "and"),
    ]
