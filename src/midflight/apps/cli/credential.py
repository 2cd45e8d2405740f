"""`midflight credential …`: the sources of leases, and what has to be known to use them.

No secret is taken from the command line: other processes of the machine can read it there.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any, cast

import msgspec
import typer

from midflight.apps.cli.output import JsonFlag, note, print_fields, print_json, print_table
from midflight.apps.cli.session import Session, segment
from midflight.apps.durations import iso, seconds
from midflight.domain.errors import Malformed
from midflight.domain.lease import Placement
from midflight.services.credentials import REFERENCE

app = typer.Typer(help="Where ephemeral credentials come from.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Its name: lower-case letters, digits and dashes.")]
SEALED = "sealed"
OLD_DAYS = 90
"""Days after which a static secret counts as forgotten."""


@app.command(
    epilog="Example: midflight credential add orders --backend postgres --upstream db "
    "--set host=127.0.0.1 --set tls=off --set user=admin --secret password=file:/run/secrets/db "
    "--scope reader --inject env:PGPASSWORD={password}"
)
def add(
    context: typer.Context,
    name: Name,
    backend: Annotated[str, typer.Option(help="Kind: postgres, sealed …")],
    upstream: Annotated[list[str], typer.Option(help="For which upstream; repeatable.")],
    inject: Annotated[
        list[str] | None,
        typer.Option(help='How it is placed, such as header:Authorization="Bearer {token}".'),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A setting, KEY=VALUE; KEY may have dots.")
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(help="KEY=env:NAME, KEY=file:PATH, or KEY=sealed: then it is read here."),
    ] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="The most that a lease may be granted; repeatable.")
    ] = None,
    ttl: Annotated[str, typer.Option(help="Life of a lease.")] = "5m",
    max_ttl: Annotated[str, typer.Option(help="How far renewing may take it.")] = "1h",
    replace: Annotated[
        bool, typer.Option("--replace", help="Put it in the place of the one of its name.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Add a source of leases. With `--secret KEY=sealed` the secret is read from standard input."""
    references, to_seal = _secrets(secret or [])
    given = _settings(settings or [])
    for key, reference in references.items():
        _put(given, key.split("."), reference)
    made = (
        Session.of(context)
        .client()
        .post(
            "/v1/credentials",
            name=name,
            backend=backend,
            upstreams=upstream,
            injections=[injection(text) for text in inject or []],
            settings=given,
            sealed={key: _read_secret(key) for key in to_seal},
            scopes=scope or [],
            ttl_s=_seconds(ttl, "--ttl"),
            max_ttl_s=_seconds(max_ttl, "--max-ttl"),
            replace=replace,
        )
    )
    _show(made, as_json=as_json)
    if made["is_static"]:
        note("A static secret never ends by itself. Posture counts it as debt, with its age.")
    else:
        note(f"`midflight credential test {name}` tries to reach its backend.")


@app.command("list", epilog="Example: midflight credential list --json")
def list_credentials(context: typer.Context, as_json: JsonFlag = False) -> None:
    """List the sources of leases, with the age of static secrets."""
    found = Session.of(context).client().get("/v1/credentials")
    if as_json:
        print_json(found)
        return
    print_table(
        ("credential", "backend", "upstreams", "scopes", "life", "ends early", "age", "added by"),
        [
            (
                each["name"],
                each["backend"],
                ", ".join(each["upstreams"]),
                ", ".join(each["scopes"]) or None,
                f"{each['ttl_s']} s",
                each["revocability"] or "cannot be used",
                age(each),
                each["added_by"],
            )
            for each in found
        ],
        empty="There are no credentials. Add one with `midflight credential add`.",
    )
    if debt := [each["name"] for each in found if each["is_static"]]:
        note(f"Static secrets, which nobody can take back: {', '.join(debt)}.")


@app.command(epilog="Example: midflight credential show orders")
def show(context: typer.Context, name: Name, as_json: JsonFlag = False) -> None:
    """Show one source of leases; secrets by reference."""
    found = Session.of(context).client().get(f"/v1/credentials/{segment(name)}")
    _show(found, as_json=as_json)


@app.command("test", epilog="Example: midflight credential test orders")
def try_backend(context: typer.Context, name: Name, as_json: JsonFlag = False) -> None:
    """Reach the backend of a credential, and say what it can do. Leaves no trace there."""
    tried = Session.of(context).client().post(f"/v1/credentials/{segment(name)}/test")
    if as_json:
        print_json(tried)
        return
    typer.echo(tried["said"])


@app.command(epilog="Example: midflight credential remove orders")
def remove(context: typer.Context, name: Name, as_json: JsonFlag = False) -> None:
    """Take back all that was lent of a credential, and forget it."""
    removed = Session.of(context).client().post(f"/v1/credentials/{segment(name)}/remove")
    if as_json:
        print_json(removed)
        return
    print_fields({"removed": removed["name"]})


def injection(text: str) -> dict[str, str]:
    """One `PLACEMENT[:NAME][=TEMPLATE]`."""
    where, equals, template = text.partition("=")
    placement, _, name = where.partition(":")
    if placement not in [known.value for known in Placement]:
        raise typer.BadParameter(
            f"{placement[:40]!r} is none of {', '.join(known.value for known in Placement)}",
            param_hint="--inject",
        )
    made = {"placement": placement, "name": name}
    return made | {"template": template} if equals else made


def age(credential: dict[str, Any]) -> str | None:
    """How old a static secret is, in words."""
    if not credential["is_static"]:
        return None
    days = credential["age_s"] // 86_400
    return f"{days} days" + (" (old)" if days >= OLD_DAYS else "")


def _settings(given: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not all(key.split(".")):
            raise typer.BadParameter("a setting is KEY=VALUE", param_hint="--set")
        _put(found, key.split("."), _value(value))
    return found


def _put(found: dict[str, Any], keys: list[str], value: Any) -> None:
    if len(keys) == 1:
        found[keys[0]] = value
        return
    inner = found.setdefault(keys[0], {})
    if not isinstance(inner, dict):
        raise typer.BadParameter(f"{keys[0]} is a value and not a group", param_hint="--set")
    _put(cast("dict[str, Any]", inner), keys[1:], value)


def _value(text: str) -> Any:
    """Numbers, `true`, `false`, lists and objects as JSON says; everything else is text."""
    if text[:1] in "[{" or text in ("true", "false") or text.isdecimal():
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError:
            return text
    return text


def _secrets(given: list[str]) -> tuple[dict[str, str], list[str]]:
    references: dict[str, str] = {}
    to_seal: list[str] = []
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise typer.BadParameter("a secret is KEY=REFERENCE", param_hint="--secret")
        if value == SEALED:
            to_seal.append(key)
        elif REFERENCE.match(value) is not None:
            references[key] = value
        else:
            # Not shown again: it may be the secret itself.
            raise typer.BadParameter(
                f"{key} is named by env:NAME, file:/PATH or sealed. If you typed the secret "
                "itself, others on this machine could read it: change it where it is from",
                param_hint="--secret",
            )
    return references, to_seal


def _read_secret(key: str) -> str:
    if sys.stdin.isatty():
        return str(typer.prompt(key, hide_input=True))
    text = sys.stdin.readline().removesuffix("\n").removesuffix("\r")
    if not text:
        raise Malformed(
            f"Standard input has no secret for {key}.",
            hint="One line for each --secret KEY=sealed, in their order.",
        )
    return text


def _seconds(text: str, option: str) -> int:
    try:
        return seconds(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} {error}", param_hint=option) from None


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    print_fields(
        found
        | {
            "upstreams": ", ".join(found["upstreams"]),
            "scopes": ", ".join(found["scopes"]) or None,
            "injections": ", ".join(
                f"{each['placement']}:{each['name']}={each['template']}"
                for each in found["injections"]
            ),
            "settings": ", ".join(f"{k}={v}" for k, v in sorted(found["settings"].items())),
            "added_at": iso(found["added_at"]),
        }
    )


__all__ = ["OLD_DAYS", "age", "app", "injection"]
