"""Entries, their hash, and the stored form of records."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midflight.domain.chain import (
    GENESIS,
    Entry,
    decode,
    encode,
    is_intact,
    link,
    parse_record_id,
    record_id,
)
from midflight.domain.errors import Malformed
from midflight.domain.outline import outline
from midflight.domain.records import Changed, Observed, Outcome, RunOpened, Sealed, Terminal

WRITER = "0f3a9c21"

bodies = st.binary(max_size=80)


def test_the_hash_covers_tag_writer_number_predecessor_and_body() -> None:
    entry = link(WRITER, 7, GENESIS, b"body")
    content = b"midflight/entry/v1" + b"0f3a9c21" + (7).to_bytes(8, "big") + GENESIS + b"body"
    assert entry.hash == hashlib.sha256(content).digest()
    assert entry.id == "0f3a9c21-7"
    assert is_intact(entry)


@given(body=bodies, other=bodies)
def test_entries_that_differ_have_different_hashes(body: bytes, other: bytes) -> None:
    entry = link(WRITER, 1, GENESIS, body)
    variants = {
        entry.hash,
        link(WRITER, 2, GENESIS, body).hash,
        link("0f3a9c22", 1, GENESIS, body).hash,
        link(WRITER, 1, entry.hash, body).hash,
        link(WRITER, 1, GENESIS, body + b"!").hash,
    }
    assert len(variants) == 5
    assert (link(WRITER, 1, GENESIS, other).hash == entry.hash) == (other == body)


@pytest.mark.parametrize(
    "change",
    [
        {"body": b"other"},
        {"seq": 8},
        {"prev": bytes(32)},
        {"hash": bytes(32)},
        {"writer": "00000000"},
        {"writer": "0F3A9C21"},
        {"writer": "0f3a9c2"},
        {"prev": b""},
        {"seq": -1},
        {"seq": 1 << 64},
    ],
    ids=str,
)
def test_an_entry_with_any_part_changed_is_not_intact(change: dict[str, object]) -> None:
    entry = link(WRITER, 7, GENESIS, b"body")
    assert not is_intact(msgspec.structs.replace(entry, **change))


def test_records_come_back_as_they_were() -> None:
    records = [
        Outcome(at=1.5, state=Terminal.DONE, intent="0f3a9c21-3", bytes_out=9, detail="ok"),
        Observed(at=2.0, what="drift", subject="git", details={"b": [1, 2.5, None], "a": "ä"}),
        RunOpened(
            at=3.0,
            run="run_x",
            workload="spiffe://example.org/a",
            author="ann",
            proof="peer-uid:1",
            implicit=False,
            intent=Sealed(key="run_x", nonce=b"n" * 12, box=b"\x00\xff"),
            expires_at=9,
            max_steps=3,
        ),
    ]
    for record in records:
        assert decode(encode(record)) == record


def test_the_stored_form_does_not_depend_on_the_order_of_keys() -> None:
    one = Changed(at=1.0, what="w", author="a", proof="p", details={"a": 1, "b": {"c": 2, "d": 3}})
    two = Changed(at=1.0, what="w", author="a", proof="p", details={"b": {"d": 3, "c": 2}, "a": 1})
    assert encode(one) == encode(two)


def test_text_that_utf8_cannot_carry_does_not_prevent_a_record() -> None:
    record = Observed(at=1.0, what="x", subject="bad \ud800 text", details={"k\udfff": ["\ud800"]})
    stored = decode(encode(record))
    assert isinstance(stored, Observed)
    assert stored.subject == "bad ? text"
    assert stored.details == {"k?": ["?"]}


@given(st.binary(max_size=60))
def test_bytes_that_are_no_record_are_refused_clearly(raw: bytes) -> None:
    for read in (decode, outline):
        with pytest.raises(Malformed):
            read(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"type":"later","at":1}',
        b'{"type":"outcome","at":1,"state":"exploded"}',
        b'{"at":1}',
        b"[" * 5_000,
        b"\xff",
        b"",
    ],
    ids=repr,
)
def test_a_record_of_an_unknown_kind_is_refused(raw: bytes) -> None:
    with pytest.raises(Malformed):
        decode(raw)


def test_an_outline_says_which_intent_an_outcome_ends() -> None:
    ended = outline(encode(Outcome(at=1.0, state=Terminal.DONE, intent="0f3a9c21-3")))
    assert (ended.kind, ended.ends) == ("outcome", "0f3a9c21-3")
    refused = outline(encode(Outcome(at=1.0, state=Terminal.DENIED)))
    assert (refused.kind, refused.ends) == ("outcome", None)
    seen = outline(encode(Observed(at=1.0, what="ledger.settled", subject="0f3a9c21")))
    assert (seen.kind, seen.what, seen.subject) == ("observed", "ledger.settled", "0f3a9c21")


@given(st.integers(1, 10**17), st.text("0123456789abcdef", min_size=8, max_size=8))
def test_record_ids_come_back_as_they_were(seq: int, writer: str) -> None:
    assert parse_record_id(record_id(writer, seq)) == (writer, seq)


@pytest.mark.parametrize(
    "text", ["", "0f3a9c21", "0f3a9c21-", "0f3a9c21-0", "0f3a9c21-01", "0f3a9c21-1\n", "x-1", "1-1"]
)
def test_what_is_no_record_id_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        parse_record_id(text)


def test_an_entry_cannot_be_changed_in_place() -> None:
    entry = link(WRITER, 1, GENESIS, b"")
    with pytest.raises(AttributeError):
        entry.seq = 2  # type: ignore[misc]
    assert isinstance(entry, Entry)
