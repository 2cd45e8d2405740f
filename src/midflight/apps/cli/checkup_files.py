"""Check-ups of files: who can read and change settings, state, keys, policies and secrets."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from midflight.apps.cli.finding import Finding, fail, ok, warn
from midflight.domain.errors import MidflightError

if TYPE_CHECKING:
    from midflight.apps.settings import Settings

_LITTLE_DISK = 1024**3
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_SHOWN = 3


def files(settings: Settings, settings_file: Path) -> Iterator[Finding]:
    """All of them."""
    yield _settings_file(settings_file)
    yield _state(settings.state.directory)
    yield _disk(settings.state.directory)
    yield _changeable_policies(settings.policy.directory)
    yield _policies(settings.policy.directory)
    yield _traits(settings.traits.directory)
    yield from _secrets(settings)


def _settings_file(path: Path) -> Finding:
    exposed = _writable_by_others([path, path.parent])
    if exposed:
        return fail(
            "settings",
            f"others can change {_names(exposed)}",
            f"chmod go-w {' '.join(map(str, exposed))}",
        )
    return ok("settings", str(path))


def _state(directory: Path) -> Finding:
    try:
        found = directory.lstat()
    except FileNotFoundError:
        return ok("state", f"{directory} will be made")
    if not stat.S_ISDIR(found.st_mode):
        return fail(
            "state", f"{directory} is no directory", "Move it away, or set [state] directory."
        )
    if found.st_uid != os.geteuid():
        return fail(
            "state",
            f"{directory} belongs to uid {found.st_uid}",
            "Run the doctor as the user who runs Midflight, or give it the directory.",
        )
    if found.st_mode & _OTHERS:
        return fail("state", f"others can enter {directory}", f"chmod 700 {directory}")
    open_files = [
        path
        for path in directory.rglob("*")
        if path.is_file() and not path.is_symlink() and path.stat().st_mode & _OTHERS
    ]
    if open_files:
        return warn(
            "state",
            f"{_names(open_files)} would be readable without the directory's mode",
            f"chmod -R go-rwx {directory}",
        )
    return ok("state", f"{directory} is private")


def _disk(directory: Path) -> Finding:
    place = next(path for path in (directory, *directory.parents) if path.exists())
    free = shutil.disk_usage(place).free
    text = f"{free / 1024**3:.1f} GiB free for state and ledger"
    if free < _LITTLE_DISK:
        return warn("disk", text, "On a full disk all but closed-world reads is denied.")
    return ok("disk", text)


def _changeable_policies(directory: Path) -> Finding:
    if not directory.is_dir():
        return fail(
            "policy files",
            f"there is no directory {directory}",
            "`midflight init` in an empty directory installs the standard policies.",
        )
    exposed = _writable_by_others([directory, *directory.rglob("*")])
    if exposed:
        return fail(
            "policy files",
            f"others can change {_names(exposed)}",
            f"chmod -R go-w {directory}",
        )
    return ok("policy files", f"only their owner can change {directory}")


def _policies(directory: Path) -> Finding:
    from midflight.apps.compose_offline import policy_compiler
    from midflight.services.policy import check_directory

    report = check_directory(policy_compiler(), directory, [])
    if not report.ok:
        return fail("policies", f"{len(report.errors)} errors", "`midflight check` names them.")
    text = f"{report.policies} policies, {report.cases} cases"
    if report.warnings:
        return warn(
            "policies", f"{text}, {len(report.warnings)} warnings", "`midflight check` names them."
        )
    return ok("policies", text)


def _traits(directory: Path) -> Finding:
    from midflight.apps.cli.traits_files import read_reviews

    if not directory.is_dir():
        return ok("traits files", "there are none")
    found = sorted(directory.glob("*.toml"))
    exposed = _writable_by_others([directory, *found])
    if exposed:
        # Whoever can write `reviewed = true` there reviews for everybody.
        return fail(
            "traits files", f"others can change {_names(exposed)}", f"chmod -R go-w {directory}"
        )
    reviewed = waiting = 0
    for path in found:
        try:
            tools = read_reviews(path, path.stem).tools
        except MidflightError as error:
            return fail(
                "traits files", error.message, f"`midflight traits check {path}` says more."
            )
        reviewed += sum(review.reviewed for review in tools)
        waiting += sum(not review.reviewed for review in tools)
    return ok("traits files", f"{reviewed} tools reviewed, {waiting} wait for a person")


def _secrets(settings: Settings) -> Iterator[Finding]:
    """Each reference is read and thrown away."""
    of_upstreams = (
        (f"{upstream.name}.{name}", value)
        for upstream in settings.upstream
        for name, value in {**upstream.headers, **upstream.env}.items()
    )
    for named, value in (*of_upstreams, *settings.keys.secrets()):
        if not value.secret:
            continue
        subject = f"secret {named}"
        try:
            value.read()
        except MidflightError as error:
            yield fail(subject, error.message, error.hint)
            continue
        if value.kind == "file" and Path(value.name).stat().st_mode & _OTHERS:
            yield warn(subject, f"others can read {value.name}", f"chmod 600 {value.name}")
        else:
            yield ok(subject, str(value))


def _writable_by_others(paths: Iterable[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        mode = path.stat().st_mode if path.exists() else 0
        # With the sticky bit others may add entries and replace none.
        sticky = stat.S_ISDIR(mode) and mode & stat.S_ISVTX
        if mode & _OTHERS_WRITE and not sticky:
            found.append(path)
    return found


def _names(paths: list[Path]) -> str:
    more = len(paths) - _SHOWN
    names = ", ".join(str(path) for path in paths[:_SHOWN])
    return f"{names} and {more} more" if more > 0 else names


__all__ = ["files"]
