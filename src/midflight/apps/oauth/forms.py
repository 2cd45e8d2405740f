"""Reads a form from a request: in bounds, declared as what it is, each parameter once."""

from __future__ import annotations

import re

from midflight.apps.server.asgi import Receive, Scope, header_values
from midflight.apps.server.body import read_body
from midflight.domain.errors import Unsupported
from midflight.wire.oauth.form import MAX_BODY, decode_form

_FORM = re.compile(
    rb"application/x-www-form-urlencoded[ \t]*(?:;[ \t]*charset[ \t]*=[ \t]*\"?utf-?8\"?[ \t]*)?",
    re.IGNORECASE,
)


async def read_form(scope: Scope, receive: Receive) -> dict[str, str]:
    """The parameters of a POST request. `Malformed` if it is no form, or a parameter is twice."""
    types = header_values(scope["headers"], b"content-type")
    if len(types) != 1 or _FORM.fullmatch(types[0]) is None:
        raise Unsupported(
            "The body must be a form.",
            hint="Send `Content-Type: application/x-www-form-urlencoded` once.",
        )
    return decode_form(await read_body(receive, scope["headers"], limit=MAX_BODY))


__all__ = ["read_form"]
