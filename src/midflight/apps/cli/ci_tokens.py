"""Where a job gets its own CI system's token from: GitHub, GitLab, Kubernetes, a file, a variable.

A token is asked for with our audience alone where the platform lets the job choose.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlsplit

import httpx2

from midflight.domain.errors import Malformed, Misconfigured, Unavailable
from midflight.wire import json

GITHUB_URL = "ACTIONS_ID_TOKEN_REQUEST_URL"
GITHUB_TOKEN = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"  # noqa: S105 -- the name of a variable
GITLAB_TOKEN = "MIDFLIGHT_ID_TOKEN"  # noqa: S105 -- the name of a variable
KUBERNETES_FILE = "/var/run/secrets/tokens/midflight"
MAX_TOKEN = 16_384


def ci_token(
    source: str,
    *,
    audience: str,
    environment: Mapping[str, str] | None = None,
    http: httpx2.Client,
) -> str:
    """The token of this job.

    Args:
        source: `auto`, `github`, `env:NAME` (GitLab: as the job's `id_tokens` names it) or
            `file:PATH` (Kubernetes: a projected token).
        audience: what it is asked for.
        environment: variables; default: the process's.
        http: asks GitHub.

    Raises:
        Misconfigured: there is none where it should be.
        Unavailable: GitHub does not answer.
    """
    variables = os.environ if environment is None else environment
    chosen = _found(variables) if source == "auto" else source
    kind, _, name = chosen.partition(":")
    match kind:
        case "github":
            token = _of_github(variables, audience=audience, http=http)
        case "env" if name:
            token = variables.get(name, "")
        case "file" if name:
            token = _read(Path(name))
        case _:
            raise Misconfigured(
                f"{source!r} is no place that a token comes from.",
                hint="Use --from github, env:NAME or file:PATH.",
            )
    token = token.strip()
    if not token or len(token) > MAX_TOKEN or not (token.isascii() and token.isprintable()):
        raise Misconfigured(f"There is no token in {chosen}.", hint=_HINTS.get(kind, ""))
    return token


_HINTS = {
    "github": "Give the job `permissions: id-token: write`.",
    "env": "GitLab: give the job `id_tokens` with this name and the audience of the plane.",
    "file": "Kubernetes: project a serviceAccountToken with the audience of the plane.",
}


def _found(variables: Mapping[str, str]) -> str:
    if GITHUB_URL in variables:
        return "github"
    if GITLAB_TOKEN in variables:
        return f"env:{GITLAB_TOKEN}"
    if Path(KUBERNETES_FILE).is_file():
        return f"file:{KUBERNETES_FILE}"
    raise Misconfigured(
        "This is no job of a CI system that gives tokens.",
        hint=(
            "GitHub needs `permissions: id-token: write`, GitLab `id_tokens` with the name "
            f"{GITLAB_TOKEN}, Kubernetes a projected token at {KUBERNETES_FILE}; or say --from."
        ),
    )


def _of_github(variables: Mapping[str, str], *, audience: str, http: httpx2.Client) -> str:
    url, bearer = variables.get(GITHUB_URL, ""), variables.get(GITHUB_TOKEN, "")
    parts = urlsplit(url)
    if not bearer or parts.scheme != "https" or not parts.hostname:
        raise Misconfigured("GitHub gives this job no tokens.", hint=_HINTS["github"])
    # GitHub's own URL has parameters; ours is added, and none of that name may be there already.
    if any(name == "audience" for name, _ in parse_qsl(parts.query)):
        raise Misconfigured(f"{GITHUB_URL} names an audience already.")
    joint = "&" if parts.query else "?"
    asked = f"{url}{joint}audience={quote(audience, safe='')}"
    try:
        answer = http.get(asked, headers={"authorization": f"Bearer {bearer}"})
        value = json.as_object(json.decode(answer.content)) if answer.status_code == 200 else None
    except (httpx2.HTTPError, Malformed):
        value = None
    token = None if value is None else value.get("value")
    if not isinstance(token, str):
        raise Unavailable("GitHub gave no token for this job.", hint="Start the job again.")
    return token


def _read(path: Path) -> str:
    try:
        with path.open(encoding="ascii") as file:
            return file.read(MAX_TOKEN + 1)
    except (OSError, UnicodeDecodeError):
        raise Misconfigured(f"{path} cannot be read.", hint=_HINTS["file"]) from None


__all__ = ["GITHUB_TOKEN", "GITHUB_URL", "GITLAB_TOKEN", "KUBERNETES_FILE", "ci_token"]
