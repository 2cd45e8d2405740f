"""`midflight ci …`: for jobs of CI systems, on machines that the plane does not run on.

Printed or exported is the short-lived token and where its key is, and nothing else. The key and the
token are kept in a directory that only the job can read, until `ci logout` ends the job's run.
"""

from __future__ import annotations

import enum
import os
import re
import shlex
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from midflight.apps.cli.output import JsonFlag, note, print_json
from midflight.apps.cli.private_file import write_private
from midflight.domain.errors import Misconfigured

if TYPE_CHECKING:
    import httpx2

    from midflight.apps.cli.ci_exchange import JobToken

app = typer.Typer(help="Jobs of CI systems: a short-lived token.", no_args_is_help=True)

TIMEOUT_S = 15.0
STATE = "MIDFLIGHT_JOB"
_KEY, _TOKEN, _PLANE = "key.json", "token", "plane"
_TOKEN_TEXT = re.compile(r"[A-Za-z0-9_.-]{1,8192}\Z")


class Format(enum.StrEnum):
    """How the token is handed to what follows in the job."""

    ENV = "env"
    JSON = "json"
    GITHUB_ENV = "github-env"


PlaneOption = Annotated[
    str, typer.Option("--plane", envvar="MIDFLIGHT_PLANE", help="Public URL of the gateway.")
]
DirectoryOption = Annotated[
    Path | None,
    typer.Option(
        "--directory",
        envvar=STATE,
        help="Where key and token are kept; default: a fresh private directory.",
    ),
]


@app.command(
    epilog="Example: midflight ci login --plane https://gw.example.org > job.env && . ./job.env",
)
def login(
    plane: PlaneOption,
    source: Annotated[
        str, typer.Option("--from", help="github, env:NAME or file:PATH; default: as found.")
    ] = "auto",
    audience: Annotated[
        str, typer.Option(help="Audience of the CI token; default: the plane's URL.")
    ] = "",
    scope: Annotated[str, typer.Option(help="Ask for less than the job may do.")] = "",
    how: Annotated[Format, typer.Option("--format", help="How to hand the token on.")] = Format.ENV,
    directory: DirectoryOption = None,
) -> None:
    """Exchange this job's CI token for one of the plane: minutes long, bound to a fresh key."""
    import httpx2

    from midflight.apps.cli.ci_exchange import JobKey, Plane
    from midflight.apps.cli.ci_tokens import ci_token

    # Redirects would carry the token to where nobody meant it to go.
    platform = httpx2.Client(timeout=TIMEOUT_S, follow_redirects=False)
    with platform, _http(plane) as http:
        there = Plane(plane, http=http)
        own = ci_token(source, audience=audience or there.url, http=platform)
        key = JobKey()
        got = there.exchange(own, key=key, resource=f"{there.url}/mcp", scope=scope)
    if _TOKEN_TEXT.match(got.token) is None:
        raise Misconfigured("The plane gave what is no token.")
    place = _private(directory)
    write_private(place / _KEY, key.private().decode("ascii"))
    write_private(place / _TOKEN, got.token)
    write_private(place / _PLANE, there.url)
    _hand_on(got, place, how)


@app.command(epilog="Example: midflight ci logout")
def logout(
    directory: Annotated[
        Path, typer.Option("--directory", envvar=STATE, help="What `ci login` was given or told.")
    ],
    as_json: JsonFlag = False,
) -> None:
    """End the job's run, with everything that was given for it, and forget token and key."""
    from midflight.apps.cli.ci_exchange import JobKey, Plane

    try:
        key = JobKey.kept((directory / _KEY).read_bytes())
        token = (directory / _TOKEN).read_text(encoding="ascii")
        plane = (directory / _PLANE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise Misconfigured(
            f"{directory} holds no login of a job.", hint="Give the directory of `ci login`."
        ) from None
    try:
        with _http(plane) as http:
            ended = Plane(plane, http=http).end(token, key=key)
    finally:
        # Whatever the plane says, nothing of it is left behind.
        for name in (_KEY, _TOKEN, _PLANE):
            (directory / name).unlink(missing_ok=True)
    if as_json:
        print_json({"ended": ended})
    else:
        note("The run of this job has ended." if ended else "The run had ended already.")


def _http(plane: str) -> httpx2.Client:
    """A client for the plane. What is not encrypted stays on this machine: it meets no proxy."""
    import httpx2

    encrypted = plane.lower().startswith("https:")
    return httpx2.Client(timeout=TIMEOUT_S, follow_redirects=False, trust_env=encrypted)


def _private(directory: Path | None) -> Path:
    """The directory, made if need be; only its owner may look into it."""
    if directory is None:
        base = os.environ.get("RUNNER_TEMP") or None
        return Path(tempfile.mkdtemp(prefix="midflight-job-", dir=base))
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.lstat()
    except OSError:
        raise Misconfigured(f"{directory} cannot be made.") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise Misconfigured(
            f"{directory} is not a directory that only you can read.",
            hint=f"chmod 700 {shlex.quote(str(directory))}, or leave --directory out.",
        )
    return directory


def _hand_on(got: JobToken, place: Path, how: Format) -> None:
    match how:
        case Format.ENV:
            # The token has no character that a shell reads; the path may have.
            typer.echo(f"export MIDFLIGHT_TOKEN={got.token}")
            typer.echo(f"export {STATE}={shlex.quote(str(place))}")
        case Format.JSON:
            print_json({"token": got.token, "expires_at": got.expires_at, "directory": str(place)})
        case Format.GITHUB_ENV:
            target = os.environ.get("GITHUB_ENV", "")
            if not target or "\n" in str(place):
                raise Misconfigured(
                    "There is no GITHUB_ENV to export to.", hint="Use --format env elsewhere."
                )
            # Before anything else is written: from here on the runner blots it out of logs.
            typer.echo(f"::add-mask::{got.token}")
            with Path(target).open("a", encoding="utf-8") as file:
                file.write(f"MIDFLIGHT_TOKEN={got.token}\n{STATE}={place}\n")


__all__ = ["app"]
