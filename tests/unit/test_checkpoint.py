"""Checkpoints and signed notes, against the vectors of Go's reference implementation."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from midflight.domain.checkpoint import (
    Checkpoint,
    checkpoint_text,
    open_checkpoint,
    open_note,
    parse_checkpoint,
    parse_verifier_key,
    signed_note,
    split_note,
    verifier_key,
)
from midflight.domain.errors import Malformed

# golang.org/x/mod/sumdb/note, note_test.go: key pair, text and signature.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
GO_TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
GO_NOTE = (
    GO_TEXT + "\n\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZ"
    "SNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
# The example of c2sp.org/tlog-checkpoint.
C2SP_TEXT = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"

SECRET = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = verifier_key("example.org/midflight", SECRET.public_key().public_bytes_raw())


def note_for(text: str) -> str:
    return signed_note(text, key=KEY, signature=SECRET.sign(text.encode()))


def test_the_key_of_the_reference_implementation_is_read_and_written_alike() -> None:
    key = parse_verifier_key(GO_KEY)
    assert key.name == "PeterNeumann"
    assert key.key_id.hex() == "c74f20a3"
    assert str(key) == GO_KEY


def test_a_note_is_the_reference_implementations_byte_for_byte() -> None:
    signature = Ed25519PrivateKey.from_private_bytes(GO_SEED).sign(GO_TEXT.encode())
    assert signed_note(GO_TEXT, key=parse_verifier_key(GO_KEY), signature=signature) == GO_NOTE


def test_a_note_of_the_reference_implementation_opens() -> None:
    assert open_note(GO_NOTE, parse_verifier_key(GO_KEY)) == GO_TEXT


def test_the_checkpoint_of_the_specification_is_read_and_written_alike() -> None:
    checkpoint = parse_checkpoint(C2SP_TEXT)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint_text(checkpoint) == C2SP_TEXT


@pytest.mark.parametrize("at", range(len(GO_KEY)))
def test_a_verifier_key_with_any_character_changed_is_refused(at: int) -> None:
    changed = GO_KEY[:at] + chr(ord(GO_KEY[at]) + 1) + GO_KEY[at + 1 :]
    with pytest.raises(Malformed):
        parse_verifier_key(changed)


def test_a_verifier_key_of_another_algorithm_or_length_is_refused() -> None:
    for text in (
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "",
        "a+b",
    ):
        with pytest.raises(Malformed):
            parse_verifier_key(text)


def test_a_changed_text_does_not_open() -> None:
    note = note_for(checkpoint_text(Checkpoint(origin=KEY.name, size=3, root=bytes(32))))
    with pytest.raises(Malformed, match="does not hold"):
        open_note(note.replace("\n3\n", "\n4\n"), KEY)


def test_a_note_of_another_key_does_not_open() -> None:
    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    key = verifier_key(KEY.name, other.public_key().public_bytes_raw())
    with pytest.raises(Malformed, match="no signature"):
        open_note(note_for("text\n"), key)


def test_lines_of_unknown_keys_are_ignored_and_a_bad_one_of_a_known_key_is_not() -> None:
    text = "text\n"
    witness = signed_note(text, key=parse_verifier_key(GO_KEY), signature=bytes(64)).split("\n")[2]
    good = note_for(text)
    assert open_note(good + witness + "\n", KEY) == text
    bad = signed_note(text, key=KEY, signature=bytes(64)).split("\n")[2]
    with pytest.raises(Malformed, match="does not hold"):
        open_note(good + bad + "\n", KEY)


def test_a_checkpoint_for_another_ledger_is_refused() -> None:
    note = note_for(checkpoint_text(Checkpoint(origin="example.org/o", size=1, root=bytes(32))))
    with pytest.raises(Malformed, match="another ledger"):
        open_checkpoint(note, KEY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "origin\n1\n",
        "origin\n01\n" + C2SP_TEXT.split("\n")[2] + "\n",
        "origin\n+1\n" + C2SP_TEXT.split("\n")[2] + "\n",
        "origin\n\u0663\n" + C2SP_TEXT.split("\n")[2] + "\n",
        "origin\n1\nAAAA\n",
        "origin\n99999999999999999999\n" + C2SP_TEXT.split("\n")[2] + "\n",
        "\n1\n" + C2SP_TEXT.split("\n")[2] + "\n",
        C2SP_TEXT[:-1],
        C2SP_TEXT + "\n",
        # The last base64 digit carries two bits that must be zero.
        C2SP_TEXT.replace("q2I=", "q2J="),
    ],
    ids=repr,
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        parse_checkpoint(text)


def test_extension_lines_are_allowed() -> None:
    assert parse_checkpoint(C2SP_TEXT + "extension 1\n").size == 20852163


@pytest.mark.parametrize(
    "note",
    [
        GO_NOTE[:-1],
        GO_NOTE.replace("\n\n", "\n"),
        GO_NOTE.replace("\u2014", "-"),
        GO_NOTE.replace("PeterNeumann", "Peter+Neumann"),
        GO_NOTE.replace("AcEl", "!!!!"),
        GO_NOTE.replace("think", "thi\tnk"),
        GO_TEXT + "\n" + "\u2014 a AAAAAAAA\n" * 101,
        "x" * (1 << 20) + GO_NOTE,
    ],
    ids=range(8),
)
def test_what_is_no_note_is_refused(note: str) -> None:
    with pytest.raises(Malformed):
        split_note(note)


@given(st.text(max_size=300))
def test_any_text_opens_or_is_refused_clearly(text: str) -> None:
    for read in (split_note, parse_checkpoint, parse_verifier_key):
        try:
            read(text)
        except Malformed:
            continue


@given(st.integers(0, (1 << 63) - 1), st.binary(min_size=32, max_size=32))
def test_a_signed_checkpoint_comes_back_as_it_was(size: int, root: bytes) -> None:
    checkpoint = Checkpoint(origin=KEY.name, size=size, root=root)
    assert open_checkpoint(note_for(checkpoint_text(checkpoint)), KEY) == checkpoint


@given(st.data())
def test_a_note_with_any_character_replaced_does_not_pass_for_another(data: st.DataObject) -> None:
    checkpoint = Checkpoint(origin=KEY.name, size=12345, root=bytes(range(32)))
    note = note_for(checkpoint_text(checkpoint))
    at = data.draw(st.integers(0, len(note) - 1))
    new = data.draw(st.characters(codec="utf-8").filter(lambda c: c != note[at]))
    with pytest.raises(Malformed):
        open_checkpoint(note[:at] + new + note[at + 1 :], KEY)


@pytest.mark.parametrize("name", ["", "with space", "plus+", "new\nline", "no\u2003break"])
def test_a_name_that_would_break_the_form_is_refused(name: str) -> None:
    with pytest.raises(Malformed):
        verifier_key(name, bytes(32))
    with pytest.raises(Malformed):
        checkpoint_text(Checkpoint(origin=name, size=0, root=bytes(32)))
