"""`midflight init`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from midflight.apps.cli.output import note
from midflight.domain.errors import Conflict, Misconfigured

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

EXAMPLE = "Example: midflight init ~/midflight"
PACKS = ("standard", "observe")
TRAITS_README = """\
What the tools of each upstream can do, one file each. `midflight traits propose UPSTREAM` writes
it, a person corrects it and sets `reviewed = true`, `midflight traits apply UPSTREAM` pins by it.
"""


def init(
    directory: Annotated[Path, typer.Argument(help="Where to put it.")] = Path(),
) -> None:
    """Write midflight.toml, the standard and observe policies, directories for traits and state."""
    from importlib.resources import files

    from midflight.apps.cli.template import TEMPLATE
    from midflight.apps.settings_file import FILE_NAME, STATE_DIRECTORY, TRAITS_DIRECTORY

    settings, policies = directory / FILE_NAME, directory / "policies"
    packs = [policies / name for name in PACKS]
    taken = [str(path) for path in (settings, *packs) if os.path.lexists(path)]
    if taken:
        raise Conflict(
            f"{' and '.join(taken)} already {'exist' if len(taken) > 1 else 'exists'};"
            " nothing was written.",
            hint="Name an empty directory, or move them away.",
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _make_private(directory / STATE_DIRECTORY)
        count = sum(_copy(files("midflight") / "policies" / pack.name, pack) for pack in packs)
        _explain(directory / TRAITS_DIRECTORY)
        # Last, since its presence says that the rest is there; "x" never replaces.
        with settings.open("x", encoding="utf-8") as file:
            file.write(TEMPLATE)
    except OSError as error:
        raise Misconfigured(
            f"{error.filename or directory} cannot be written: {error.strerror}.",
            hint="Check its owner and mode.",
        ) from None
    typer.echo(str(settings))
    note(
        f"Wrote {settings}, {count} policy files in {policies}"
        f" and {directory / STATE_DIRECTORY}/.\n"
        "Next: add an [[upstream]], then `midflight doctor` and `midflight up`."
    )


def _make_private(directory: Path) -> None:
    directory.mkdir(mode=0o700, exist_ok=True)
    # A state directory from before keeps its content and loses its other readers.
    if not directory.is_symlink():
        directory.chmod(0o700)


def _explain(traits: Path) -> None:
    traits.mkdir(exist_ok=True)
    readme = traits / "README.md"
    # What a person wrote there, or linked to, stays.
    if not os.path.lexists(readme):
        readme.write_text(TRAITS_README, encoding="utf-8")


def _copy(source: Traversable, target: Path) -> int:
    """Copy a folder of package data; how many files."""
    target.mkdir(parents=True)
    count = 0
    for entry in sorted(source.iterdir(), key=lambda found: found.name):
        if entry.is_dir():
            if entry.name != "__pycache__":
                count += _copy(entry, target / entry.name)
        elif not entry.name.endswith((".py", ".pyc")):
            (target / entry.name).write_bytes(entry.read_bytes())
            count += 1
    return count


__all__ = ["EXAMPLE", "init"]
