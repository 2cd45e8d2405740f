"""Unix sockets that nobody else can squat on, reach too early or take over.

The directory is private, the socket gets its mode before it gets its name, and a lock held as long
as the socket lives decides between two servers, so that a socket is only replaced when its server
is gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from midflight.domain.errors import Misconfigured

# sockaddr_un holds 108 bytes with the final NUL (unix(7)); the temporary name is 4 bytes longer.
_MAX_PATH = 103


@contextmanager
def unix_socket(
    path: str, *, mode: int, backlog: int, reachable: bool = False
) -> Generator[socket.socket]:
    """A socket that listens at `path` with `mode` while the context lasts; then it is removed.

    With `reachable` its directory may be one that others can read, never one that they can write.

    Raises:
        Misconfigured: the path is too long, its directory is not private, something that is no
            socket stands there, or another server listens.
    """
    place = Path(path)
    if len(os.fsencode(path)) > _MAX_PATH:
        raise Misconfigured(
            f"The socket path {path} is longer than {_MAX_PATH} bytes.",
            hint="Configure a shorter one.",
        )
    _private_directory(place.parent, 0o022 if reachable else 0o077)
    with _lock(place.with_name(place.name + ".lock"), path), contextlib.ExitStack() as undo:
        _check_free(place)
        made = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        made.setblocking(False)
        fresh = place.with_name(place.name + ".new")
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
        made.bind(str(fresh))
        fresh.chmod(mode)
        made.listen(backlog)
        made_node = fresh.lstat().st_ino
        fresh.rename(place)  # atomic, and takes the place of a stale socket
        try:
            yield made
        finally:
            with contextlib.suppress(FileNotFoundError):
                if place.lstat().st_ino == made_node:
                    place.unlink()


def _private_directory(directory: Path, forbidden: int) -> None:
    with contextlib.suppress(FileExistsError):
        try:
            directory.mkdir(mode=0o700)
        except FileNotFoundError:
            raise Misconfigured(
                f"The directory {directory.parent} does not exist.",
                hint="Create it, or configure another place for the socket.",
            ) from None
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise Misconfigured(
            f"{directory} is not a directory.",
            hint="Sockets need a real directory of their own, no symbolic link.",
        )
    if found.st_uid != os.geteuid() or found.st_mode & forbidden:
        raise Misconfigured(
            f"The directory {directory} of the socket is not private.",
            hint="It must belong to the user that runs Midflight:"
            f" chmod {0o777 & ~forbidden:o} {directory}",
        )


@contextmanager
def _lock(place: Path, path: str) -> Generator[None]:
    held = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _taken(path) from None
        yield
    finally:
        os.close(held)  # the file stays: removing it would let two servers lock two files


def _check_free(place: Path) -> None:
    try:
        found = place.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise Misconfigured(
            f"{place} exists and is not a socket.",
            hint="Move it away, or configure another place for the socket.",
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(place))
        except (ConnectionRefusedError, FileNotFoundError):
            return  # stale: whoever listened is gone
        except OSError:
            pass  # a full backlog, say: somebody is there
    raise _taken(str(place))


def _taken(path: str) -> Misconfigured:
    return Misconfigured(
        f"Another server listens at {path}.", hint="Stop it, or configure another path."
    )


__all__ = ["unix_socket"]
