"""A token of SoftHSM: a PKCS #11 module of others, in software, in a folder of the test.

The module reads its configuration once a process, so all tests of a process share one folder and
have tokens of their own in it.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
)
MISSING = "softhsm2-util is not installed (Debian: softhsm2)"


def installed() -> bool:
    """Whether this machine has it."""
    return shutil.which("softhsm2-util") is not None


@dataclass(frozen=True)
class SoftToken:
    """A token."""

    module: Path
    label: str
    pin: str = field(repr=False)


@functools.cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="mf-hsm-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "tokens").mkdir()
    configuration = folder / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {folder}/tokens\nlog.level = ERROR\n")
    os.environ["SOFTHSM2_CONF"] = str(configuration)
    return folder


@functools.cache
def soft_token() -> SoftToken:
    """The token of this process: SoftHSM sees those that were there when it was loaded."""
    _folder()
    module = next((Path(path) for path in MODULES if Path(path).exists()), None)
    assert module is not None, f"softhsm2-util is here and its module is in none of {MODULES}"
    label, pin = "midflight", "739146"
    labels = ["--label", label, "--so-pin", "8642", "--pin", pin]
    done = subprocess.run(
        ["softhsm2-util", "--init-token", "--free", *labels],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return SoftToken(module=module, label=label, pin=pin)


__all__ = ["MISSING", "SoftToken", "installed", "soft_token"]
