"""Somebody in the demo who answers on the approval page, as a browser without scripts would.

The page, the account and the codes are real; what is typed by hand elsewhere is typed here.
"""

from __future__ import annotations

import time
from html.parser import HTMLParser
from types import TracebackType
from typing import Self

import httpx2
from pyotp.totp import TOTP

STEP_S = 30
TAKEN = 303
"""What the page answers to a form that it takes: go and look."""


class Person:
    """A person with an authenticator and a browser. Use it in a `with`."""

    def __init__(self, name: str, gateway: str) -> None:
        """`name` is the account's, `gateway` where the page is served."""
        self._name = name
        self._step = 0
        self._totp: TOTP | None = None
        self._http = httpx2.Client(base_url=gateway, timeout=30, trust_env=False)

    def __enter__(self) -> Self:
        """Nothing is asked for yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the browser."""
        self._http.close()

    def enroll(self, code: str) -> bool:
        """Enrol an authenticator with an operator's code."""
        self._post("/approve/enroll", invitation=code)
        page = self._page("/approve/enroll")
        self._totp = TOTP(page.code, interval=STEP_S)
        done = self._post("/approve/enroll/code", code=self._next_code(), **page.fields_of("/code"))
        return "The codes are enrolled." in done.text

    def sign_in(self) -> bool:
        """Sign in with the authenticator's next code, since each is good once."""
        done = self._post("/approve/sign-in", account=self._name, code=self._next_code())
        return done.status_code == TAKEN

    def approve(self, approval: str) -> tuple[dict[str, str], bool]:
        """Say yes to a question: what the page says of it, and whether the answer was taken."""
        page = self._page(f"/approve/{approval}")
        form = page.fields_of(approval)
        done = self._post(f"/approve/{approval}", decision="yes", reason="asked for", **form)
        return page.told, done.status_code == TAKEN

    def _next_code(self) -> str:
        assert self._totp is not None
        self._step = max(self._step + 1, int(time.time()) // STEP_S)
        return self._totp.at(self._step * STEP_S)

    def _page(self, path: str) -> Page:
        return Page(self._http.get(path).text)

    def _post(self, path: str, **fields: str) -> httpx2.Response:
        return self._http.post(path, data=fields, headers={"sec-fetch-site": "same-origin"})


class Page(HTMLParser):
    """What a page shows: its forms' fields, its list of facts, and the last piece of code."""

    def __init__(self, text: str) -> None:
        """`text` is the page's HTML."""
        super().__init__()
        self.code = ""
        self.told: dict[str, str] = {}
        self._forms: list[tuple[str, dict[str, str]]] = []
        self._in = ""
        self._name = ""
        self.feed(text)

    def fields_of(self, action: str) -> dict[str, str]:
        """The hidden fields of the form whose address ends so; none if there is no such form."""
        for where, fields in self._forms:
            if where.endswith(action):
                return fields
        return {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See where text belongs, and keep what forms carry."""
        said = dict(attrs)
        if tag == "form":
            self._forms.append((said.get("action") or "", {}))
        elif tag == "input" and self._forms and said.get("type") == "hidden":
            self._forms[-1][1][said.get("name") or ""] = said.get("value") or ""
        elif tag in {"dt", "dd", "code"}:
            self._in = tag
            if tag == "dt":
                self._name = ""

    def handle_endtag(self, tag: str) -> None:
        """End what began."""
        if tag == self._in or tag in {"dd", "h2"}:
            self._in = ""

    def handle_data(self, data: str) -> None:
        """Keep text of facts and code."""
        if self._in == "dt":
            self._name += data
        elif self._in == "dd":
            self.told[self._name] = self.told.get(self._name, "") + data
        elif self._in == "code":
            self.code = data


__all__ = ["Person"]
