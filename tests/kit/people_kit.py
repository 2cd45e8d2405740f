"""An OpenID provider of two dictionaries: whom it sent away, and who has logged in there."""

from __future__ import annotations

from urllib.parse import parse_qs, urlencode, urlsplit

from midflight.domain.authorization import Person
from midflight.domain.errors import Unauthenticated


class KnownPeople:
    """A `LoginProvider`. Codes are good once, and for the nonce and verifier they were asked by."""

    issuer = "https://id.example"

    def __init__(self, *, now: int) -> None:
        self._now = now
        self._codes: dict[str, tuple[str, str, str]] = {}

    async def begin(self, *, state: str, nonce: str, verifier: str) -> str:
        query = urlencode({"state": state, "nonce": nonce, "verifier": verifier})
        return f"{self.issuer}/authorize?{query}"

    def log_in(self, where: str, name: str) -> tuple[str, str]:
        """Somebody logs in where he was sent: the state and the code that he comes back with."""
        told = {key: values[0] for key, values in parse_qs(urlsplit(where).query).items()}
        code = f"code-{len(self._codes)}"
        self._codes[code] = (name, told["nonce"], told["verifier"])
        return told["state"], code

    async def finish(self, *, code: str, nonce: str, verifier: str) -> Person:
        name, *asked = self._codes.pop(code, ("", "", ""))
        if not name or asked != [nonce, verifier]:
            raise Unauthenticated("The provider does not know this code.")
        return Person(name=name, proof=f"oidc:{self.issuer}", at=self._now)

    async def person_of(self, id_token: str) -> tuple[Person, str, int]:
        raise Unauthenticated("Nobody shows ID tokens here.")


__all__ = ["KnownPeople"]
