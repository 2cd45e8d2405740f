"""Keys in files: made once, private or refused, whole after a crash, and never shown."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from identity_kit import NOW

from midflight.adapters.keys import private_files
from midflight.adapters.keys.aes import AesKeyWrap
from midflight.adapters.keys.ed25519 import Ed25519NoteSigner
from midflight.adapters.keys.file import (
    NOTE_FILE,
    SVID_FILE,
    TOKEN_FILE,
    WRAP_FILE,
    FileKeys,
    FileTokenSigner,
    open_key_wrap,
)
from midflight.adapters.keys.private_files import MAX_FILE_BYTES, PrivateDirectory
from midflight.domain.errors import Misconfigured, StoreUnavailable
from midflight.testing import FakeClock

ORIGIN = "plane.example.test/ledger"
FILES = (TOKEN_FILE, SVID_FILE, NOTE_FILE, WRAP_FILE)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state" / "keys"


def opened(directory: Path, origin: str = ORIGIN) -> FileKeys:
    return FileKeys(directory, clock=FakeClock(NOW), origin=origin)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# First use and later use


def test_first_use_makes_private_files_in_a_private_directory(directory: Path) -> None:
    before = os.umask(0)
    try:
        opened(directory)
    finally:
        os.umask(before)
    assert mode(directory) == 0o700
    assert {path.name for path in directory.iterdir()} == {*FILES, ".lock"}
    for path in directory.iterdir():
        assert mode(path) == 0o600


def test_a_strange_umask_does_not_lock_us_out(directory: Path) -> None:
    before = os.umask(0o777)
    try:
        directory.parent.mkdir()
        directory.parent.chmod(0o700)
        directory.mkdir()
        directory.chmod(0o700)
        with PrivateDirectory(directory) as files:
            files.write("x", b"1")
    finally:
        os.umask(before)
    assert mode(directory / "x") == 0o600


def test_later_use_finds_the_same_keys(directory: Path) -> None:
    first, second = opened(directory), opened(directory)
    assert first.tokens.public_jwks() == second.tokens.public_jwks()
    assert first.notes.verifier_key() == second.notes.verifier_key()
    wrapped = first.wrap.wrap(bytes(32), key_id="k")
    assert second.wrap.unwrap(wrapped, key_id="k") == bytes(32)


def test_two_deployments_have_different_keys(tmp_path: Path) -> None:
    one, two = opened(tmp_path / "one"), opened(tmp_path / "two")
    assert one.tokens.public_jwks() != two.tokens.public_jwks()
    assert one.notes.verifier_key() != two.notes.verifier_key()
    with pytest.raises(StoreUnavailable):
        two.wrap.unwrap(one.wrap.wrap(bytes(32), key_id="k"), key_id="k")


def test_processes_that_start_together_agree_on_one_key(directory: Path) -> None:
    directory.parent.mkdir()
    program = (
        "import sys; from pathlib import Path; from midflight.testing import FakeClock;"
        "from midflight.adapters.keys.file import FileKeys;"
        "keys = FileKeys(Path(sys.argv[1]), clock=FakeClock(), origin='o');"
        "print(keys.tokens.public_jwks()['keys'][0]['kid'], keys.notes.verifier_key(), keys.wrap)"
    )
    command = [sys.executable, "-c", program, str(directory)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = {process.communicate()[0] for process in running}
    assert all(process.returncode == 0 for process in running)
    assert len(said) == 1


def test_threads_that_open_together_agree_on_one_key(directory: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: opened(directory).notes.verifier_key(), range(16)))
    assert len(set(found)) == 1


# What is not private is refused


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("bits", [0o640, 0o604, 0o620, 0o610, 0o666, 0o777])
def test_a_key_that_others_can_reach_is_refused(directory: Path, name: str, bits: int) -> None:
    opened(directory)
    (directory / name).chmod(bits)
    with pytest.raises(Misconfigured, match="open to others") as caught:
        opened(directory)
    assert "chmod 600" in caught.value.hint
    assert mode(directory / name) == bits  # told, not hidden


@pytest.mark.parametrize("bits", [0o750, 0o705, 0o710, 0o777])
def test_a_directory_that_others_can_reach_is_refused(directory: Path, bits: int) -> None:
    opened(directory)
    directory.chmod(bits)
    with pytest.raises(Misconfigured, match="open to others"):
        opened(directory)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("name", ["", *FILES])
def test_what_belongs_to_another_user_is_refused(directory: Path, name: str) -> None:
    opened(directory)
    os.chown(directory / name, 65534, 65534)
    with pytest.raises(Misconfigured, match="another user"):
        opened(directory)


def test_another_owner_is_seen_without_being_root(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(directory)
    monkeypatch.setattr(private_files.os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(Misconfigured, match="another user"):
        opened(directory)


@pytest.mark.parametrize("name", FILES)
def test_a_link_is_not_followed(directory: Path, tmp_path: Path, name: str) -> None:
    opened(directory)
    elsewhere = tmp_path / "elsewhere"
    (directory / name).rename(elsewhere)
    (directory / name).symlink_to(elsewhere)
    with pytest.raises(Misconfigured):
        opened(directory)
    (directory / name).unlink()
    os.link(elsewhere, directory / name)
    with pytest.raises(Misconfigured, match="not a plain file"):
        opened(directory)


def test_a_linked_directory_is_not_followed(directory: Path, tmp_path: Path) -> None:
    opened(directory)
    link = tmp_path / "link"
    link.symlink_to(directory)
    with pytest.raises(Misconfigured):
        opened(link)


@pytest.mark.parametrize("name", FILES)
def test_a_pipe_or_directory_in_place_of_a_key_is_refused(directory: Path, name: str) -> None:
    opened(directory)
    (directory / name).unlink()
    os.mkfifo(directory / name, 0o600)
    with pytest.raises(Misconfigured):
        opened(directory)  # and does not wait for a writer
    (directory / name).unlink()
    (directory / name).mkdir(0o700)
    with pytest.raises(Misconfigured):
        opened(directory)


def test_a_file_in_place_of_the_directory_is_refused(directory: Path) -> None:
    directory.parent.mkdir()
    directory.write_text("")
    with pytest.raises(Misconfigured):
        opened(directory)


# Damage


MARKER = "s3cr3tmarker"


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda _: MARKER.encode(),
        lambda raw: raw[: len(raw) // 2],
        lambda raw: raw.replace(b"v1", b"v2").replace(b"PRIVATE", b"PUBLIC"),
        lambda raw: b"\xff" + raw,
        lambda raw: MARKER.encode() + raw,
        lambda _: b"A" * (MAX_FILE_BYTES + 1),
    ],
    ids=["empty", "text", "half", "version", "binary", "prefix", "large"],
)
def test_a_damaged_key_is_refused_and_left_as_it_is(
    directory: Path, name: str, damage: Callable[[bytes], bytes]
) -> None:
    opened(directory)
    whole = (directory / name).read_bytes()
    damaged = damage(whole)
    (directory / name).write_bytes(damaged)
    with pytest.raises(Misconfigured) as caught:
        opened(directory)
    assert (directory / name).read_bytes() == damaged
    _shows_nothing_of(caught.value, whole, MARKER)


@pytest.mark.parametrize(
    "change",
    [
        {"d": "AAAA"},
        {"d": None},
        {"kid": "other"},
        {"crv": "P-384"},
        {"kty": "oct"},
        {"x": "A" * 43},
        {"y": 7},
        {"d": "B" * 43},
    ],
    ids=str,
)
def test_a_token_key_whose_parts_do_not_fit_is_refused(
    directory: Path, change: dict[str, Any]
) -> None:
    opened(directory)
    path = directory / TOKEN_FILE
    stored = json.loads(path.read_bytes())
    stored["keys"]["signing"].update(change)
    path.write_text(json.dumps(stored))
    with pytest.raises(Misconfigured):
        opened(directory)
    stored["keys"]["signing"] = {}
    path.write_text(json.dumps(stored))
    with pytest.raises(Misconfigured):
        opened(directory)


def test_a_checkpoint_key_is_bound_to_its_name(directory: Path) -> None:
    opened(directory)
    path = directory / NOTE_FILE
    path.write_text(path.read_text().replace("plane", "plain"))
    with pytest.raises(Misconfigured, match="matching hash"):
        opened(directory, origin=ORIGIN.replace("plane", "plain"))


@pytest.mark.parametrize("encoded", ["", "!", "AQ==", "A" * 43, "Ag" + "A" * 42, "AQ" + "A" * 42])
def test_what_is_not_a_private_note_key_is_refused(encoded: str) -> None:
    for text in (f"PRIVATE+KEY+{ORIGIN}+00000000+{encoded}", f"{ORIGIN}+00000000+{encoded}"):
        with pytest.raises(Misconfigured):
            Ed25519NoteSigner.from_text(text)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_seed_of_another_length_makes_no_key(length: int) -> None:
    with pytest.raises(Misconfigured):
        Ed25519NoteSigner(name=ORIGIN, seed=bytes(length))
    with pytest.raises(Misconfigured):
        AesKeyWrap(bytes(length))


def test_an_origin_does_not_change_under_a_key(directory: Path) -> None:
    opened(directory)
    with pytest.raises(Misconfigured, match=ORIGIN):
        opened(directory, origin="other.test/ledger")


@pytest.mark.parametrize("origin", ["", "a b", "a+b", "a\nb", "é", "x" * 257])
def test_an_origin_that_cannot_name_a_key_is_refused_before_anything_is_written(
    directory: Path, origin: str
) -> None:
    with pytest.raises(Misconfigured):
        opened(directory, origin=origin)
    assert not (directory / NOTE_FILE).exists()


def test_the_checkpoint_key_file_has_the_form_that_other_tools_read(directory: Path) -> None:
    keys = opened(directory)
    text = (directory / NOTE_FILE).read_text()
    assert text.startswith(f"PRIVATE+KEY+{ORIGIN}+")
    assert text.split("+")[3] == keys.notes.verifier_key().split("+")[1]
    assert Ed25519NoteSigner.from_text(text).verifier_key() == keys.notes.verifier_key()


# Rotation


def test_a_rotation_is_on_disk_before_it_counts(directory: Path) -> None:
    keys = opened(directory)
    old = keys.tokens.public_jwks()["keys"][0]["kid"]
    private = json.loads((directory / TOKEN_FILE).read_bytes())["keys"]["signing"]["d"]
    new = keys.tokens.rotate()
    again = opened(directory).tokens.public_jwks()["keys"]
    assert [jwk["kid"] for jwk in again] == [new, old]
    # The old private half is gone from the disk: nobody can sign with it any more.
    assert private not in (directory / TOKEN_FILE).read_text()


def test_another_process_sees_a_rotation_at_reload(directory: Path) -> None:
    one = FileTokenSigner(directory, clock=FakeClock(NOW))
    two = FileTokenSigner(directory, clock=FakeClock(NOW))
    announced = one.announce()
    assert two.public_jwks() != one.public_jwks()
    two.reload()
    assert two.public_jwks() == one.public_jwks()
    assert two.rotate() == announced


def test_rotations_of_two_processes_lose_no_key(directory: Path) -> None:
    one = FileTokenSigner(directory, clock=FakeClock(NOW))
    two = FileTokenSigner(directory, clock=FakeClock(NOW))
    first = one.public_jwks()["keys"][0]["kid"]
    second = one.rotate()
    third = two.rotate()  # two has not reloaded
    kids = [jwk["kid"] for jwk in two.public_jwks()["keys"]]
    assert kids == [third, second, first]


@pytest.mark.parametrize("failing", ["fsync", "rename", "fchmod"])
def test_a_rotation_that_cannot_be_written_changes_nothing(
    directory: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    keys = opened(directory)
    before, jwks = (directory / TOKEN_FILE).read_bytes(), keys.tokens.public_jwks()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(private_files.os, failing, full)
        with pytest.raises(Misconfigured, match="No space left"):
            keys.tokens.rotate()
    assert (directory / TOKEN_FILE).read_bytes() == before
    assert keys.tokens.public_jwks() == jwks
    assert not list(directory.glob(".*.tmp"))
    keys.tokens.rotate()


def test_what_is_written_is_flushed_before_it_gets_its_name(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = opened(directory)
    done: list[str] = []
    for name in ("fsync", "rename"):
        real = getattr(os, name)

        def noted(*values: Any, _name: str = name, _real: Any = real, **named: Any) -> Any:
            kind = ""
            if _name == "fsync":
                kind = "dir" if stat.S_ISDIR(os.fstat(values[0]).st_mode) else "file"
            done.append(_name + kind)
            return _real(*values, **named)

        monkeypatch.setattr(private_files.os, name, noted)
    keys.tokens.rotate()
    assert done == ["fsyncfile", "rename", "fsyncdir"]


def test_drafts_that_a_crash_left_are_removed(directory: Path) -> None:
    opened(directory)
    draft = directory / f".{TOKEN_FILE}.0123456789abcdef.tmp"
    draft.write_text(MARKER)
    before = opened(directory).tokens.public_jwks()
    assert not draft.exists()
    assert before == opened(directory).tokens.public_jwks()


def test_a_key_killed_at_any_moment_of_a_rotation_is_whole(directory: Path) -> None:
    """A child rotates without end and is killed; each time the file is one that loads."""
    opened(directory)
    program = (
        "import sys; from pathlib import Path; from midflight.testing import FakeClock;"
        "from midflight.adapters.keys.file import FileTokenSigner;"
        "signer = FileTokenSigner(Path(sys.argv[1]), clock=FakeClock());"
        "print('on', flush=True)\n"
        "while True: signer.rotate(); signer._clock.advance(1000)"
    )
    for _ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", program, str(directory)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "on\n"
        before = (directory / TOKEN_FILE).read_bytes()
        while (directory / TOKEN_FILE).read_bytes() == before:
            pass
        child.kill()
        child.wait()
        child.stdout.close()
        opened(directory)
    assert not list(directory.glob(".*.tmp"))


# Secrets


def test_no_repr_and_no_error_shows_a_key(directory: Path) -> None:
    keys = opened(directory)
    secrets = [
        json.loads((directory / TOKEN_FILE).read_bytes())["keys"]["signing"]["d"],
        (directory / NOTE_FILE).read_text().strip().split("+", 4)[4],
        (directory / WRAP_FILE).read_text().split()[1],
    ]
    for part in (keys.tokens, keys.notes, keys.wrap):
        shown = repr(part) + str(part)
        assert all(secret not in shown for secret in secrets)
    with pytest.raises(Misconfigured) as caught:
        Ed25519NoteSigner.from_text("PRIVATE+KEY+" + MARKER)
    _shows_nothing_of(caught.value, MARKER.encode(), MARKER)
    assert repr(open_key_wrap(directory)) == repr(keys.wrap)


def _shows_nothing_of(error: BaseException, content: bytes, *markers: str) -> None:
    hidden = [*markers, *[word for word in content.decode("ascii").split('"') if len(word) > 42]]
    chain: BaseException | None = error
    while chain is not None:
        shown = f"{chain} {chain!r} {chain.__dict__!r}"
        assert all(word not in shown for word in hidden)
        chain = chain.__cause__ or chain.__context__
