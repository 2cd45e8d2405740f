"""Reads files of /proc: bytes in, facts out. Pure; whatever the bytes are, no error comes out.

A process chooses some of them (its name, its arguments, in part its control group), so nothing here
trusts their form. What does not have the form of proc(5) is None. Above: the attestors.
"""

from __future__ import annotations

import re

from midflight.domain.attestation import Selector
from midflight.domain.value import Value

MAX_SELECTOR = 1024
"""Characters of a selector's value."""

# runc's and systemd's names of control groups, under whatever runtime (docker, podman, containerd,
# CRI-O); an id is a SHA-256 in hexadecimal.
_CONTAINER = re.compile(
    r"(?:(?:docker|libpod|crio|cri-containerd|containerd)-)?([0-9a-f]{64})(?:\.scope)?\Z"
)
_POD = re.compile(
    r"(?:[a-z-]*kubepods(?:-[a-z]+)?-)?pod"
    r"([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}|[0-9a-f]{32})"
    r"(?:\.slice)?\Z"
)


class Ids(Value):
    """What /proc/PID/status says of user and groups: the effective ones, and the supplementary."""

    uid: int
    gid: int
    groups: tuple[int, ...]


def read_status(raw: bytes) -> Ids | None:
    """proc_pid_status(5): `Uid:` and `Gid:` are real, effective, saved, file system."""
    found: dict[bytes, list[bytes]] = {}
    for line in raw.split(b"\n"):
        name, colon, rest = line.partition(b":")
        # The kernel writes each once, and escapes line ends in the name of a process.
        if colon and name in (b"Uid", b"Gid", b"Groups"):
            if name in found:
                return None
            found[name] = rest.split()
    uids, gids = found.get(b"Uid", []), found.get(b"Gid", [])
    if len(uids) != 4 or len(gids) != 4:
        return None
    uid, gid = _number(uids[1]), _number(gids[1])
    groups = [_number(text) for text in found.get(b"Groups", [])]
    if uid is None or gid is None or any(group is None for group in groups):
        return None
    return Ids(uid=uid, gid=gid, groups=tuple(group for group in groups if group is not None))


def read_namespaces(raw: bytes) -> int:
    """proc_pid_status(5): `NSpid` has its number in each PID namespace from the reader's on."""
    for line in raw.split(b"\n"):
        if line.startswith(b"NSpid:"):
            return len(line.split()) - 1
    return 0


def read_cmdline(raw: bytes) -> tuple[str, ...]:
    """proc_pid_cmdline(5): arguments, each ended by NUL; a process may write anything there."""
    if not raw:
        return ()
    parts = raw.removesuffix(b"\0").split(b"\0")
    return tuple(part.decode("utf-8", "surrogateescape") for part in parts)


def read_cgroup(raw: bytes) -> str | None:
    """cgroups(7): path in the unified hierarchy, or in systemd's own one; None if it has neither.

    A path outside of our own control group namespace begins with `/..` and is none.
    """
    named = None
    for line in raw.split(b"\n"):
        number, _, rest = line.partition(b":")
        controllers, colon, path = rest.partition(b":")
        if not colon or not path.startswith(b"/"):
            continue
        text = path.decode("utf-8", "surrogateescape")
        if ".." in text.split("/") or not text.isprintable():
            continue
        if number == b"0" and controllers == b"" and text != "/":
            return text
        if controllers == b"name=systemd" and named is None and text != "/":
            named = text
    return named


def unit_of(path: str) -> str | None:
    """The systemd unit of a control group, or None.

    The first part that is no slice. What is below belongs to that unit, and where it is delegated
    (`user@1000.service`, a container) is named by whoever it is delegated to.
    """
    for part in path.split("/"):
        if part and not part.endswith(".slice"):
            return part if part.endswith((".service", ".scope")) else None
    return None


def container_of(path: str) -> str | None:
    """The container id that a control group's path names; who named it is for others to check."""
    for part in reversed(path.split("/")):
        if (found := _CONTAINER.match(part)) is not None:
            return found[1]
    return None


def pod_of(path: str) -> str | None:
    """The uid of the pod that a control group's path names, with dashes.

    None beneath a user's own control groups, which that user names at will.
    """
    parts = [part for part in path.split("/") if part]
    for index, part in enumerate(parts):
        if part == "user.slice" or part.startswith("user@"):
            return None
        if (found := _POD.match(part)) is not None:
            if not any("kubepods" in above for above in parts[: index + 1]):
                return None
            return found[1].replace("_", "-")
    return None


def is_within(path: str, group: str) -> bool:
    """Whether a control group is this one or below it."""
    return path == group or path.startswith(group.rstrip("/") + "/")


def fact(kind: str, name: str, value: str) -> tuple[Selector, ...]:
    """A selector `kind:name:value`, or none if the value cannot be one.

    Cut or cleaned it would be another fact, so it is left out.
    """
    whole = f"{name}:{value}"
    if not value or len(kind) + 1 + len(whole) > MAX_SELECTOR or not whole.isprintable():
        return ()
    return (Selector(type=kind, value=whole),)


def _number(text: bytes) -> int | None:
    return int(text) if text.isdigit() and len(text) <= 20 else None


__all__ = [
    "MAX_SELECTOR",
    "Ids",
    "container_of",
    "fact",
    "is_within",
    "pod_of",
    "read_cgroup",
    "read_cmdline",
    "read_namespaces",
    "read_status",
    "unit_of",
]
