"""A request as the pages see it, and what they answer."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping, Sequence

from midflight.domain.errors import Forbidden
from midflight.domain.value import Discreet

HOME = "/approve"
_QUESTION = re.compile(r"/approve/(apr_[a-z2-7]{26})\Z")


class Visit(Discreet):
    """A request.

    Attributes:
        path, form, cookies: as sent; the form is a query where it was a GET.
        peer: whose address, for records.
        is_foreign: whether the browser says that another site sent it here.
    """

    shown = ("path",)

    path: str
    form: Mapping[str, str]
    cookies: Mapping[str, str]
    peer: str
    is_foreign: bool

    def check(self, csrf: str) -> None:
        """`Forbidden` unless the form is of a page that this very browser was shown."""
        sent = self.form.get("csrf", "")
        if not hmac.compare_digest(sent.encode(), csrf.encode()):
            raise Forbidden(
                "This form was not made for you, or is too old.", hint="Load the page again."
            )


class Reply(Discreet):
    """A page, or where to go instead.

    `targets` is where its forms may lead besides here; `refused` is what was refused, for records.
    """

    shown = ("status", "location")

    status: int = 200
    html: str = ""
    location: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    targets: Sequence[str] = ()
    refused: str = ""


def question_of(path: str) -> str | None:
    """The approval that a path names, or None."""
    found = _QUESTION.match(path)
    return None if found is None else found[1]


def way_back(visit: Visit) -> str:
    """Where somebody wanted to go, if it is a page of ours; else what waits for him."""
    back = visit.form.get("back", visit.path)
    return back if question_of(back) is not None else HOME


def go(location: str, *headers: tuple[bytes, bytes]) -> Reply:
    """Somewhere else: 303, so that what was posted does not travel on."""
    return Reply(status=303, location=location, headers=headers)


__all__ = ["HOME", "Reply", "Visit", "go", "question_of", "way_back"]
