"""Checkpoints: what a ledger's operator signs, in forms that other people's tools read.

The text is a C2SP tlog-checkpoint (origin, size, root), the envelope a C2SP signed note with an
Ed25519 signature: the forms of Go's checksum database, Sigstore and the witness networks.
Pure: signing needs a key and is a port (`services/ports/keys.py`); verifying needs none.

Sources: https://c2sp.org/tlog-checkpoint, https://c2sp.org/signed-note.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from midflight.domain.errors import Malformed
from midflight.domain.value import Value

_ED25519 = b"\x01"
_KEY_ID_LENGTH = 4
_PUBLIC_LENGTH = 32
_ROOT_LENGTH = 32
_MAX_NOTE = 1 << 20
_MAX_SIGNATURES = 100
_MAX_SIZE = (1 << 63) - 1
_DASH = "\u2014 "


class Checkpoint(Value):
    """A tree head: the ledger called `origin` has `size` entries with this Merkle root."""

    origin: str
    size: int
    root: bytes


class VerifierKey(Value):
    """A public key with its name, as `<name>+<8 hex digits>+<base64>` carries them."""

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        """First 4 bytes of SHA-256(name || 0x0A || 0x01 || public key)."""
        content = self.name.encode() + b"\n" + _ED25519 + self.public
        return hashlib.sha256(content).digest()[:_KEY_ID_LENGTH]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{_base64(_ED25519 + self.public)}"


class Signature(Value):
    """One signature line of a note: who claims to have signed, and the bytes behind the key id."""

    name: str
    key_id: bytes
    signature: bytes


def verifier_key(name: str, public: bytes) -> VerifierKey:
    """A verifier key from its parts.

    Raises:
        Malformed: the name is empty or has white space or `+` in it, or the key is not 32 bytes.
    """
    if not _is_name(name):
        raise Malformed(
            "The name of a checkpoint key may not be empty nor contain white space or '+'.",
            hint="Use a host and path, such as example.org/midflight.",
        )
    if len(public) != _PUBLIC_LENGTH:
        raise Malformed("An Ed25519 public key has 32 bytes.")
    return VerifierKey(name=name, public=public)


def parse_verifier_key(text: str) -> VerifierKey:
    """A verifier key from its text.

    Raises:
        Malformed: not `<name>+<hash>+<base64>`, another algorithm, or a hash that is not the key's.
    """
    name, _, rest = text.strip("\n").partition("+")
    key_id, _, encoded = rest.partition("+")
    raw = _from_base64(encoded)
    if not key_id or not raw or raw[:1] != _ED25519:
        raise Malformed(
            "This is not an Ed25519 verifier key.",
            hint="It looks like example.org/midflight+1a2b3c4d+AbCd… (C2SP signed-note).",
        )
    key = verifier_key(name, raw[1:])
    if key.key_id.hex() != key_id:
        raise Malformed("The verifier key's hash does not belong to its name and key.")
    return key


def checkpoint_text(checkpoint: Checkpoint) -> str:
    """The text that is signed: three lines, each ended by a newline.

    Raises:
        Malformed: the origin cannot stand on a line of its own.
    """
    if not _is_name(checkpoint.origin):
        raise Malformed("A checkpoint's origin may not be empty nor contain white space or '+'.")
    return f"{checkpoint.origin}\n{checkpoint.size}\n{_base64(checkpoint.root)}\n"


def parse_checkpoint(text: str) -> Checkpoint:
    """A checkpoint from a note's text; extension lines are allowed and ignored.

    Raises:
        Malformed: not a checkpoint.
    """
    lines = text.split("\n")
    if len(lines) < 4 or lines.pop() or not all(lines):
        raise Malformed("A checkpoint has at least three lines, none of them empty.")
    origin, size, root = lines[:3]
    digits = size.isascii() and size.isdigit() and (size == "0" or size[0] != "0")
    if not digits or len(size) > 19 or int(size) > _MAX_SIZE:
        raise Malformed("The second line of a checkpoint is a size in plain decimal digits.")
    raw = _from_base64(root)
    if len(raw) != _ROOT_LENGTH:
        raise Malformed("The third line of a checkpoint is a root hash of 32 bytes in base64.")
    return Checkpoint(origin=origin, size=int(size), root=raw)


def signed_note(text: str, *, key: VerifierKey, signature: bytes) -> str:
    """The note: the text, a blank line and one signature line."""
    return f"{text}\n{_DASH}{key.name} {_base64(key.key_id + signature)}\n"


def split_note(note: str) -> tuple[str, tuple[Signature, ...]]:
    """Text (with its final newline) and signature lines of a note. Nothing is verified.

    Raises:
        Malformed: not a signed note.
    """
    if len(note) > _MAX_NOTE:
        raise Malformed("A signed note of more than a million characters is not read.")
    if any(character < " " and character != "\n" for character in note):
        raise Malformed("A signed note contains no control characters but newlines.")
    at = note.rfind("\n\n")
    if at < 0 or not note.endswith("\n"):
        raise Malformed(
            "A signed note ends its text with a blank line and has signature lines behind it.",
            hint="Give the whole checkpoint as it was published, with its last newline.",
        )
    lines = note[at + 2 : -1].split("\n")
    if len(lines) > _MAX_SIGNATURES:
        raise Malformed(f"A signed note with more than {_MAX_SIGNATURES} signatures is not read.")
    return note[: at + 1], tuple(_parse_signature(line) for line in lines)


def open_note(note: str, key: VerifierKey) -> str:
    """The text of a note that `key` signed. Lines of other keys are ignored, as C2SP asks.

    Raises:
        Malformed: not a note, not signed by this key, or its signature does not hold.
    """
    text, signatures = split_note(note)
    mine = [s for s in signatures if s.name == key.name and s.key_id == key.key_id]
    if not mine:
        raise Malformed(
            f"The note carries no signature of the key {key.name}.",
            hint="Use the verifier key of the ledger that the checkpoint belongs to.",
        )
    public = Ed25519PublicKey.from_public_bytes(key.public)
    for line in mine:
        try:
            public.verify(line.signature, text.encode())
        except InvalidSignature as error:
            raise Malformed(f"The signature of the key {key.name} does not hold.") from error
    return text


def open_checkpoint(note: str, key: VerifierKey) -> Checkpoint:
    """The checkpoint in a note that `key` signed, whose name must be the origin.

    Raises:
        Malformed: as `open_note` and `parse_checkpoint`, or it speaks for another ledger.
    """
    checkpoint = parse_checkpoint(open_note(note, key))
    if checkpoint.origin != key.name:
        raise Malformed("The checkpoint speaks for another ledger than the key that signed it.")
    return checkpoint


def _parse_signature(line: str) -> Signature:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    raw = _from_base64(encoded)
    if not line.startswith(_DASH) or not _is_name(name) or len(raw) <= _KEY_ID_LENGTH:
        raise Malformed("A signature line is an em dash, a key name and base64, spaces between.")
    return Signature(name=name, key_id=raw[:_KEY_ID_LENGTH], signature=raw[_KEY_ID_LENGTH:])


def _is_name(text: str) -> bool:
    return bool(text) and "+" not in text and not any(c.isspace() or c < " " for c in text)


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _from_base64(text: str) -> bytes:
    """Strict standard base64; empty for anything else, since no field here may be empty."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
    # Trailing bits that are not zero would give one value several texts.
    return raw if _base64(raw) == text else b""


__all__ = [
    "Checkpoint",
    "Signature",
    "VerifierKey",
    "checkpoint_text",
    "open_checkpoint",
    "open_note",
    "parse_checkpoint",
    "parse_verifier_key",
    "signed_note",
    "split_note",
    "verifier_key",
]
