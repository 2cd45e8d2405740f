"""Keys in files: one file a purpose, made at first use, in a directory that is ours alone.

    keys/checkpoint.key       the note signer's key, in C2SP form            ed25519.py
    keys/seal-wrap.key        the key that wraps the sealing keys of runs    aes.py

Keys that sign tokens stand beside them in rings: `ring_files.py`.
Keep the directory with the database: without `seal-wrap.key` sealed arguments never open again.
A passphrase is not asked for; where the disk is not enough, keys belong in a module or service.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from midflight.adapters.keys.aes import AesKeyWrap
from midflight.adapters.keys.ed25519 import Ed25519NoteSigner
from midflight.adapters.keys.private_files import PrivateDirectory
from midflight.domain.errors import Misconfigured

NOTE_FILE = "checkpoint.key"
WRAP_FILE = "seal-wrap.key"

_WRAP_FORMAT = "midflight-wrap-v1"

Kept = TypeVar("Kept")


def open_note_signer(directory: Path, *, origin: str) -> Ed25519NoteSigner:
    """The note signer kept in `checkpoint.key`, made at first use. `Misconfigured` as above."""

    def load(content: bytes) -> Ed25519NoteSigner:
        return Ed25519NoteSigner.from_text(_text(content))

    signer = _kept(
        directory,
        NOTE_FILE,
        lambda: Ed25519NoteSigner.fresh(name=origin),
        load,
        lambda made: f"{made.to_text()}\n".encode("ascii"),
    )
    if signer.name != origin:
        raise Misconfigured(
            f"The checkpoint key in {directory / NOTE_FILE} was made for the origin {signer.name}.",
            hint="Set that origin again: published checkpoints carry it.",
        )
    return signer


def open_key_wrap(directory: Path) -> AesKeyWrap:
    """The key wrap kept in `seal-wrap.key`, made at first use. `Misconfigured` as above."""

    def load(content: bytes) -> bytes:
        label, _, encoded = _text(content).strip().partition(" ")
        key = b""
        if label == _WRAP_FORMAT:
            try:
                key = base64.b64decode(encoded, validate=True)
            except ValueError:
                key = b""
        return key

    key = _kept(
        directory,
        WRAP_FILE,
        lambda: AESGCM.generate_key(bit_length=256),
        load,
        lambda made: f"{_WRAP_FORMAT} {base64.b64encode(made).decode('ascii')}\n".encode("ascii"),
    )
    return AesKeyWrap(key)


def _kept(
    directory: Path,
    name: str,
    make: Callable[[], Kept],
    load: Callable[[bytes], Kept],
    dump: Callable[[Kept], bytes],
) -> Kept:
    """What the file holds; made and written first if there is none."""
    with PrivateDirectory(directory) as files, files.locked():
        content = files.read(name)
        if content is None:
            content = dump(make())
            files.write(name, content)
    # What was just made is read back like any other, so a file that cannot be read never counts.
    return load(content)


def _text(content: bytes) -> str:
    # Not ASCII is damaged, and what is damaged is told by whoever parses the text.
    return content.decode("ascii", errors="replace")


__all__ = [
    "NOTE_FILE",
    "WRAP_FILE",
    "open_key_wrap",
    "open_note_signer",
]
