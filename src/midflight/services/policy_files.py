"""Policy sets on disk: `*.cedar` files, monitors and responses, and the history of them.

Reading is strict (UTF-8, regular files, bounded) and reports every problem. The history keeps the
text of each set that was active, and the input schemas of the tools it was validated against, so
that a record made under an old version can be judged again. Above: `policy.py`.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from midflight.domain.canonical import sha256_hex
from midflight.domain.errors import Misconfigured, NotFound
from midflight.domain.question import Target
from midflight.domain.value import JSONObject
from midflight.services.monitor_files import SUFFIX as MONITORS_SUFFIX
from midflight.services.monitor_files import concerns_monitors
from midflight.services.ports.policy_sets import PolicySource
from midflight.services.response_files import is_responding

SUFFIX = ".cedar"
OBSERVE = "observe"
"""A folder of this name right below a policy directory is a set of its own, not a part of it."""
MAX_FILES = 2_000
MAX_BYTES = 16 * 1024 * 1024

_HEX = re.compile(r"[0-9a-f]{64}\Z")


def read_sources(directory: Path) -> tuple[PolicySource, ...]:
    """The files of a set below a directory, policies first: none at all if it holds none.

    Those are all `*.cedar` files, `responses.toml`, and the `*.toml` files that declare monitors.

    Raises:
        Misconfigured: with every file that cannot be read.
    """
    sources: list[PolicySource] = []
    problems: list[str] = []
    total = 0
    paths = set_files(directory)
    if len(paths) > MAX_FILES:
        raise Misconfigured(f"{directory} holds more than {MAX_FILES} policy files.")
    for path in paths:
        name = path.relative_to(directory).as_posix()
        try:
            raw = path.read_bytes()
            total += len(raw)
            text = raw.decode("utf-8")
            source = PolicySource(name=name, text=text)
            if name.endswith(SUFFIX) or is_responding(source) or concerns_monitors(name, text):
                sources.append(source)
        except OSError as error:
            problems.append(f"{name}: cannot be read: {error.strerror}")
        except UnicodeDecodeError as error:
            problems.append(f"{name}: is no UTF-8 (byte {error.start})")
    if total > MAX_BYTES:
        problems.append(f"{directory} holds more than {MAX_BYTES} bytes of policies")
    if problems:
        raise Misconfigured("Policies cannot be read.", problems)
    return tuple(sources)


def cedar_files(directory: Path) -> Sequence[Path]:
    """The policy files of a directory and its folders, by name; none if it is not there."""
    return files_of(directory, SUFFIX)


def set_files(directory: Path) -> Sequence[Path]:
    """The files of a directory and its folders that can be part of a set."""
    return [*cedar_files(directory), *files_of(directory, MONITORS_SUFFIX)]


def files_of(directory: Path, suffix: str) -> Sequence[Path]:
    """The files that end so, by name, without what is hidden.

    Hidden folders are where version control and mounted configuration keep copies: those would
    count every policy twice. The set of observers (`OBSERVE`) permits what the others do not.

    Raises:
        Misconfigured: the directory cannot be read.
    """
    try:
        return sorted(
            path
            for path in directory.rglob(f"*{suffix}")
            if path.is_file() and _belongs(path.relative_to(directory).parts)
        )
    except OSError as error:
        raise Misconfigured(f"{directory} cannot be read: {error.strerror}.") from None


def _belongs(parts: Sequence[str]) -> bool:
    apart = len(parts) > 1 and parts[0] == OBSERVE
    return not apart and not any(part.startswith(".") for part in parts)


def stamp(paths: Iterable[Path]) -> str:
    """What changes when one of the files does: their names, times, sizes and inodes."""
    seen: list[object] = []
    for path in paths:
        try:
            stat = path.stat()
            seen.append([str(path), stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino])
        except OSError:
            seen.append([str(path), None])
    return sha256_hex(seen)


class History:
    """Activated sets and tool schemas, as files of the state directory. Readable by the owner."""

    def __init__(self, directory: Path) -> None:
        """Nothing is touched before the first `keep`."""
        self._sets = directory / "sets"
        self._schemas = directory / "schemas"
        self._kept: set[str] = set()

    def keep(self, version: str, sources: Sequence[PolicySource]) -> None:
        """Keep the text of a set under its version."""
        self._write(self._sets, version, msgspec.json.encode(sources))

    def keep_schemas(self, targets: Iterable[Target]) -> None:
        """Keep the input schemas of pinned tools under their pins."""
        for target in targets:
            if target.pin is not None and target.schema is not None:
                self._write(self._schemas, target.pin, msgspec.json.encode(target.schema))

    def sources(self, version: str) -> tuple[PolicySource, ...]:
        """The text of a set. `NotFound` if that version was never active here."""
        raw = self._read(self._sets, version)
        if raw is None:
            raise NotFound(
                f"Policy version {version[:16]} was never active here.",
                hint="The history of sets is in the state directory, under `policies`.",
            )
        return msgspec.json.decode(raw, type=tuple[PolicySource, ...])

    def schema(self, pin: str) -> JSONObject | None:
        """The input schema of a pinned tool, or None if it has none or is not known."""
        raw = self._read(self._schemas, pin)
        return None if raw is None else msgspec.json.decode(raw, type=dict[str, Any])

    def _write(self, folder: Path, key: str, raw: bytes) -> None:
        # Keys become file names: only digests may. Content never changes under its digest.
        if _HEX.match(key) is None or key in self._kept:
            return
        path = folder / f"{key}.json"
        if not path.exists():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            beside = folder / f".{key}.{secrets.token_hex(4)}"
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(raw)
                    file.flush()
                    os.fsync(file.fileno())
                beside.replace(path)
            except OSError:
                beside.unlink(missing_ok=True)
                raise
        self._kept.add(key)

    def _read(self, folder: Path, key: str) -> bytes | None:
        if _HEX.match(key) is None:
            return None
        try:
            return (folder / f"{key}.json").read_bytes()
        except FileNotFoundError:
            return None


__all__ = [
    "MAX_BYTES",
    "MAX_FILES",
    "OBSERVE",
    "SUFFIX",
    "History",
    "cedar_files",
    "files_of",
    "read_sources",
    "set_files",
    "stamp",
]
