"""Reads what a token endpoint answers: a token that is not what was asked for is none.

RFC 6749 §5.1, RFC 8693 §2.2, RFC 9449 §5. Above: `oauth.py`, `oauth_login.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from midflight.domain.errors import Misconfigured
from midflight.domain.value import Discreet, JSONObject

NAMED = "The authorization server"
ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 -- a name
_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}\Z")
_HINT = "Check the client's registration."


class Answered(Discreet):
    """A token as it is used. `expires_at` in Unix seconds; `refresh` is empty without one."""

    shown = ("scopes", "expires_at")

    token: str
    scopes: tuple[str, ...]
    expires_at: int
    refresh: str = ""


def token_in(answer: JSONObject) -> str:
    """The access token, whatever else is wrong. `Misconfigured` if there is none."""
    token = answer.get("access_token")
    if not isinstance(token, str) or _TOKEN.match(token) is None:
        raise Misconfigured(f"{NAMED} gives no access token that can be sent.", hint=_HINT)
    return token


def answered(answer: JSONObject, *, asked: Sequence[str], dpop: bool, now: int) -> Answered:
    """The token.

    Args:
        answer: members of the answer.
        asked: scopes that were asked for.
        dpop: a token that is bound to a key was asked for.
        now: Unix seconds.

    Raises:
        Misconfigured: it is wider, or of another type than asked for, or has no end.
    """
    token = token_in(answer)
    problem = ""
    kind = "dpop" if dpop else "bearer"
    life = answer.get("expires_in")
    # Without `scope` it is as asked for (RFC 6749 §5.1).
    granted = answer.get("scope", " ".join(asked))
    refresh = answer.get("refresh_token", "")
    if str(answer.get("token_type")).lower() != kind:
        problem = f"gives a token of another type than {kind}"
    elif type(life) is not int or life <= 0:
        problem = "does not say when its token ends"
    elif not isinstance(granted, str) or not set(granted.split()) <= set(asked):
        problem = "grants scopes that were not asked for"
    elif answer.get("issued_token_type", ACCESS_TOKEN_TYPE) != ACCESS_TOKEN_TYPE:
        problem = "gives another token than an access token"
    elif not isinstance(refresh, str) or (refresh and _TOKEN.match(refresh) is None):
        problem = "gives a refresh token that cannot be sent"
    if problem:
        raise Misconfigured(f"{NAMED} {problem}.", hint=_HINT)
    return Answered(
        token=token,
        scopes=tuple(str(granted).split()),
        expires_at=now + int(str(life)),
        refresh=str(refresh),
    )


__all__ = ["ACCESS_TOKEN_TYPE", "NAMED", "Answered", "answered", "token_in"]
