"""Keys in files: one file a purpose, made at first use, in a directory that is ours alone.

    keys/token-signing.json   the token signer's keys, private and retired   es256.py
    keys/jwt-svid.json        the same of the signer of JWT-SVIDs            es256.py
    keys/checkpoint.key       the note signer's key, in C2SP form            ed25519.py
    keys/seal-wrap.key        the key that wraps the sealing keys of runs    aes.py

Each file is replaced as a whole, so a crash in a rotation leaves the old keys or the new ones.
Keep the directory with the database: without `seal-wrap.key` sealed arguments never open again.
A passphrase is not asked for; where the disk is not enough, keys belong in a module or service.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from midflight.adapters.keys.aes import AesKeyWrap
from midflight.adapters.keys.ed25519 import Ed25519NoteSigner
from midflight.adapters.keys.es256 import (
    Es256TokenSigner,
    TokenKeys,
    announced,
    fresh_keys,
    rotated,
)
from midflight.adapters.keys.private_files import PrivateDirectory
from midflight.domain.errors import Misconfigured
from midflight.domain.value import Value
from midflight.services.ports.clock import Clock

TOKEN_FILE = "token-signing.json"  # noqa: S105 -- the name of a file
SVID_FILE = "jwt-svid.json"
NOTE_FILE = "checkpoint.key"
WRAP_FILE = "seal-wrap.key"

_TOKEN_FORMAT = "midflight-token-keys-v1"  # noqa: S105 -- the name of a format
_WRAP_FORMAT = "midflight-wrap-v1"

Kept = TypeVar("Kept")


class FileTokenSigner(Es256TokenSigner):
    """`TokenSigner` whose keys are in `token-signing.json`. Rotation is on disk before it counts.

    Processes that share the directory see another's rotation at `reload`.
    """

    def __init__(self, directory: Path, *, clock: Clock, name: str = TOKEN_FILE) -> None:
        """Read the keys in the file `name`, made if there are none.

        Raises:
            Misconfigured: directory or file are not private, or the keys are damaged.
        """
        self._directory = directory
        self._name = name
        super().__init__(_kept(directory, name, fresh_keys, _load, _dump), clock=clock)

    def announce(self) -> str:
        """Publish the next key and return its id; it does not sign yet."""
        self._change(announced)
        return self._public[1]["kid"]

    def rotate(self) -> str:
        """Sign with the next key from now on and return its id; see `Es256TokenSigner.rotate`."""
        self._change(lambda keys: rotated(keys, now=self._clock.now()))
        return self._public[0]["kid"]

    def reload(self) -> None:
        """Use what is on disk now. `Misconfigured` leaves the keys in use as they were."""
        self._use(_kept(self._directory, self._name, fresh_keys, _load, _dump))

    def _change(self, change: Callable[[TokenKeys], TokenKeys]) -> None:
        with PrivateDirectory(self._directory) as files, files.locked():
            stored = files.read(self._name)
            # Another process may have rotated since; a missing file is not a reason to forget.
            after = change(self._keys if stored is None else _load(stored))
            files.write(self._name, _dump(after))
        self._use(after)


class FileKeys:
    """All keys of one deployment, opened together."""

    def __init__(self, directory: Path, *, clock: Clock, origin: str) -> None:
        """Open `directory`, making what is missing.

        Args:
            directory: for nothing but keys; mode 0700.
            clock: for the overlap of token keys.
            origin: name of the checkpoint key, set when it is made and the same ever after.

        Raises:
            Misconfigured: anything is not private, damaged, or made under another origin.
        """
        self.tokens = FileTokenSigner(directory, clock=clock)
        self.svids = FileTokenSigner(directory, clock=clock, name=SVID_FILE)
        self.notes = open_note_signer(directory, origin=origin)
        self.wrap = open_key_wrap(directory)


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


class _TokenFile(Value, forbid_unknown_fields=True):
    format: str
    keys: TokenKeys


def _load(content: bytes) -> TokenKeys:
    stored: _TokenFile | None = None
    try:
        stored = msgspec.json.decode(content, type=_TokenFile)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        stored = None
    if stored is None or stored.format != _TOKEN_FORMAT:
        raise Misconfigured(
            f"The key file {TOKEN_FILE} is damaged or of another version.",
            hint="Restore it from a backup; without one, remove it and mint tokens again.",
        )
    return stored.keys


def _dump(keys: TokenKeys) -> bytes:
    return msgspec.json.encode(_TokenFile(format=_TOKEN_FORMAT, keys=keys))


def _text(content: bytes) -> str:
    # Not ASCII is damaged, and what is damaged is told by whoever parses the text.
    return content.decode("ascii", errors="replace")


__all__ = [
    "NOTE_FILE",
    "SVID_FILE",
    "TOKEN_FILE",
    "WRAP_FILE",
    "FileKeys",
    "FileTokenSigner",
    "open_key_wrap",
    "open_note_signer",
]
