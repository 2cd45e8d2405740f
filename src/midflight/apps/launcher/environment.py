"""The environment of a launched program: what it needs to run and to be somebody, and no more.

Nothing of the launcher's environment passes but the names below and those that the operator allows
one by one. Pure: environments in, environment out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from midflight.domain.errors import Misconfigured
from midflight.domain.value import Value

PASSED = ("PATH", "HOME", "LANG", "TMPDIR", "TERM")
"""Names that pass from the launcher's environment."""

ENDPOINT = "SPIFFE_ENDPOINT_SOCKET"
RUN = "MIDFLIGHT_RUN"
MCP_URL = "MIDFLIGHT_MCP_URL"
TOKEN_FILE = "MIDFLIGHT_TOKEN_FILE"  # noqa: S105 -- the name of a variable
_OURS = frozenset({ENDPOINT, RUN, MCP_URL, TOKEN_FILE})


class Given(Value):
    """What the plane gives a launched program. `endpoint` may be empty."""

    run: str
    mcp_url: str
    endpoint: str
    token_file: str


def environment(
    parent: Mapping[str, str],
    given: Given,
    *,
    allowed: Sequence[str] = (),
    home: str | None = None,
) -> dict[str, str]:
    """The environment of the program.

    Args:
        parent: the launcher's own environment.
        given: what the plane gives.
        allowed: more names that pass; the operator answers for what they hold.
        home: of the user it runs as, where that is another one.

    Raises:
        Misconfigured: an allowed name is not there, or is one that Midflight sets.
    """
    problems = [f"{name} is set by Midflight" for name in allowed if name in _OURS]
    problems += [f"{name} is not set here" for name in allowed if name not in parent]
    if problems:
        raise Misconfigured(
            "The environment cannot be passed on as asked.",
            problems,
            hint="Look at --allow-env; what is named there passes as it is.",
        )
    passed = {name: parent[name] for name in (*PASSED, *allowed) if name in parent}
    if home is not None:
        passed["HOME"] = home
        passed.pop("TMPDIR", None)
    if given.endpoint:
        passed[ENDPOINT] = given.endpoint
    return passed | {RUN: given.run, MCP_URL: given.mcp_url, TOKEN_FILE: given.token_file}


__all__ = ["ENDPOINT", "MCP_URL", "PASSED", "RUN", "TOKEN_FILE", "Given", "environment"]
