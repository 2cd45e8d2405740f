"""Where the settings file is, which line says what, and where the control socket is.

Light on purpose: it does not validate, so `midflight revoke` still finds the running plane while
the settings file is broken. `settings.py` validates.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from midflight.domain.errors import Misconfigured
from midflight.wire.toml import TomlPath, lines_of

FILE_NAME = "midflight.toml"
FILE_VARIABLE = "MIDFLIGHT_CONFIG"
ENV_PREFIX = "MIDFLIGHT_"
STATE_DIRECTORY = ".midflight"
TRAITS_DIRECTORY = "traits"
SOCKET_NAME = "control.sock"
MAX_FILE_BYTES = 1_000_000


def find(explicit: Path | None = None, *, environment: Mapping[str, str] | None = None) -> Path:
    """The settings file: the given one, `$MIDFLIGHT_CONFIG`, or the nearest above this directory.

    Raises:
        Misconfigured: there is none.
    """
    variables = os.environ if environment is None else environment
    if explicit is None and variables.get(FILE_VARIABLE):
        explicit = Path(variables[FILE_VARIABLE])
    if explicit is not None:
        if not explicit.is_file():
            raise Misconfigured(
                f"There is no settings file at {explicit}.",
                hint="Make one with `midflight init`, or name another with --config.",
            )
        return explicit.absolute()
    here = Path.cwd()
    for directory in (here, *here.parents):
        if (directory / FILE_NAME).is_file():
            return directory / FILE_NAME
    raise Misconfigured(
        f"There is no {FILE_NAME} in {here} or above it.",
        hint="Make one with `midflight init`, or name one with --config or $MIDFLIGHT_CONFIG.",
    )


def parse(file: Path) -> tuple[dict[str, Any], dict[TomlPath, int]]:
    """The document and the line of every key in it.

    Raises:
        Misconfigured: unreadable, too large, not UTF-8 or not TOML.
    """
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise Misconfigured(f"{file} is larger than {MAX_FILE_BYTES:,} bytes.")
        text = file.read_text(encoding="utf-8")
        return tomllib.loads(text), lines_of(text)
    except OSError as error:
        raise Misconfigured(
            f"{file} cannot be read: {error.strerror}.", hint="Check its owner and mode."
        ) from None
    except UnicodeDecodeError:
        raise Misconfigured(f"{file} is not UTF-8 text.") from None
    except tomllib.TOMLDecodeError as error:
        # tomllib's message names line and column and does not repeat the text.
        raise Misconfigured(f"{file} is not TOML: {error}.") from None


def state_directory(file: Path, *, environment: Mapping[str, str] | None = None) -> Path:
    """The state directory of the plane of this settings file."""
    variables = os.environ if environment is None else environment
    document, _ = parse(file)
    state = variables.get("MIDFLIGHT_STATE__DIRECTORY") or _text(document, "state", "directory")
    return file.absolute().parent / Path(state or STATE_DIRECTORY).expanduser()


def control_socket(file: Path, *, environment: Mapping[str, str] | None = None) -> Path:
    """Path of the control socket that the plane of this settings file listens on."""
    variables = os.environ if environment is None else environment
    document, _ = parse(file)
    state = variables.get("MIDFLIGHT_STATE__DIRECTORY") or _text(document, "state", "directory")
    socket = variables.get("MIDFLIGHT_CONTROL__SOCKET") or _text(document, "control", "socket")
    base = file.absolute().parent
    if socket:
        return base / Path(socket).expanduser()
    return base / Path(state or STATE_DIRECTORY).expanduser() / SOCKET_NAME


def traits_directory(file: Path, *, environment: Mapping[str, str] | None = None) -> Path:
    """The directory of the reviewed traits files of this settings file."""
    variables = os.environ if environment is None else environment
    given = variables.get("MIDFLIGHT_TRAITS__DIRECTORY")
    if not given:
        given = _text(parse(file)[0], "traits", "directory") or TRAITS_DIRECTORY
    return file.absolute().parent / Path(given).expanduser()


def _text(document: dict[str, Any], section: str, key: str) -> str:
    table = document.get(section)
    value = cast("dict[str, Any]", table).get(key) if isinstance(table, dict) else None
    return value if isinstance(value, str) else ""


__all__ = [
    "ENV_PREFIX",
    "FILE_NAME",
    "TomlPath",
    "control_socket",
    "find",
    "lines_of",
    "parse",
    "traits_directory",
]
