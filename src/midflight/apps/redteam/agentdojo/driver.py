"""Midflight's side of the benchmark: finds an interpreter that has it, and runs it there.

The generator runs in a process of its own: the benchmark brings clients of many model vendors,
which have no business in the process of a security tool. It gets a bare environment (no key of any
vendor) and needs no network.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import midflight
from midflight.domain.errors import Misconfigured, Unavailable

PACKAGE = "agentdojo"
BESIDE = Path(".tools/redteam/bin/python")
"""Where `make redteam` installs the benchmark, in an environment of its own."""

DEFAULT_ATTACK = "important_instructions"
_PROGRAM = (
    "import sys; sys.path.append(sys.argv.pop(1));"
    "from midflight.apps.redteam.agentdojo.generate import main; main()"
)
_KEPT = ("PATH", "HOME", "TMPDIR", "LANG", "SYSTEMROOT", "LD_LIBRARY_PATH")
_LAST = 2_000
"""Bytes of what the child complained about: the last line is what is told."""


def interpreter(given: Path | None = None) -> Path:
    """The Python that has the benchmark.

    Raises:
        Unavailable: there is none.
    """
    if given is not None:
        return given
    if importlib.util.find_spec(PACKAGE) is not None:
        return Path(sys.executable)
    if BESIDE.exists():
        return BESIDE.absolute()
    raise Unavailable(
        f"No Python here has {PACKAGE}.",
        hint="pip install 'midflight[redteam]', or name one that has it with --python.",
    )


def generate(
    folder: Path,
    *,
    python: Path,
    suites: tuple[str, ...] = (),
    attack: str = DEFAULT_ATTACK,
    as_shipped: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Write the cases and the manifest into a folder.

    Raises:
        Misconfigured: the folder cannot be written, or there is no such suite or attack.
        Unavailable: the interpreter does not run, or has not got the benchmark.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured(f"{folder} cannot be written: {error.strerror}.") from None
    root = Path(midflight.__file__).resolve().parents[1]
    command = [str(python), "-s", "-P", "-c", _PROGRAM, str(root), str(folder)]
    for suite in suites:
        command += ["--suite", suite]
    command += ["--attack", attack, *(["--as-shipped"] if as_shipped else [])]
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    # Sets are printed in the order of their hashes; no hub is asked for anything.
    environment |= {"PYTHONHASHSEED": "0", "HF_HUB_OFFLINE": "1", "PYTHONIOENCODING": "utf-8"}
    # Into a file: a pipe that nobody empties meanwhile would stop the child.
    with tempfile.TemporaryFile() as trouble:
        try:
            with subprocess.Popen(  # noqa: S603 -- an interpreter that the operator chose
                command, env=environment, stdout=subprocess.PIPE, stderr=trouble, text=True
            ) as child:
                assert child.stdout is not None
                for line in child.stdout:
                    progress(_made(line))
        except OSError as error:
            raise Unavailable(f"{python} does not run: {error.strerror}.") from None
        if child.returncode != 0:
            trouble.seek(max(0, trouble.seek(0, os.SEEK_END) - _LAST))
            raise _failed(python, trouble.read().decode(errors="replace"))


def _made(line: str) -> int:
    try:
        return int(json.loads(line)["made"])
    except (ValueError, KeyError, TypeError):
        return 0  # something the benchmark said


def _failed(python: Path, trouble: str) -> Unavailable:
    last = trouble.strip().rsplit("\n", 1)[-1]
    if f"No module named '{PACKAGE}" in last:
        return Unavailable(
            f"{python} has no {PACKAGE}.", hint="pip install 'midflight[redteam]' there."
        )
    return Unavailable(f"The cases could not be made: {last}")


__all__ = ["BESIDE", "DEFAULT_ATTACK", "generate", "interpreter"]
