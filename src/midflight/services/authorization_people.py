"""People who are signed in, and the development login.

Sessions are kept in this process and end with it: a person signs in again. Nobody's password comes
by here: an OpenID provider knows people, or, for development on this machine, a code that an
operator has printed and that is good once. Sign-ins on their way: `sign_in_states.py`.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Generic, TypeVar

from midflight.domain.authorization import Person
from midflight.domain.errors import Conflict, Unauthenticated
from midflight.domain.identity import Author
from midflight.services.ports.clock import Clock
from midflight.services.ports.login import LoginProvider
from midflight.services.sign_in_states import SignInStates

SESSION_S = 3_600
WAITING_S = 600
MAX_HELD = 10_000
LOGIN_CODE_S = 300
MAX_WRONG = 5

# Without what people mistake for each other.
_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"

T = TypeVar("T")


class Held(Generic[T]):
    """Values under unguessable names, bounded in number and time. Names are kept as digests."""

    def __init__(self, *, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._values: dict[str, tuple[float, T]] = {}

    def put(self, value: T) -> str:
        """Keep a value; its name, which is handed out once."""
        while len(self._values) >= MAX_HELD:
            del self._values[next(iter(self._values))]
        name = secrets.token_urlsafe(32)
        self._values[_digest(name)] = (self._clock.monotonic() + self._seconds, value)
        return name

    def get(self, name: str) -> T | None:
        """The value, while it lasts."""
        until, value = self._values.get(_digest(name), (0.0, None))
        return value if until > self._clock.monotonic() else None

    def take(self, name: str) -> T | None:
        """The value, once."""
        until, value = self._values.pop(_digest(name), (0.0, None))
        return value if until > self._clock.monotonic() else None


class LoginCodes:
    """The development login: an operator prints a code, and types it where he logs in.

    It is for one machine, where operator and person are the same; nothing else is proved by it.
    """

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._waiting: tuple[str, float, Author] | None = None
        self._wrong = 0

    def new(self, author: Author) -> tuple[str, int]:
        """A fresh code, and how many seconds it lasts; an older one is void."""
        code = "".join(secrets.choice(_ALPHABET) for _ in range(10))
        self._waiting = (_digest(code), self._clock.monotonic() + LOGIN_CODE_S, author)
        self._wrong = 0
        return f"{code[:5]}-{code[5:]}", LOGIN_CODE_S

    def redeem(self, code: str) -> Person:
        """Who printed it. `Unauthenticated` if it is not the one, or was guessed at too often."""
        typed = "".join(c for c in code.upper() if c in _ALPHABET)
        waiting = self._waiting
        if waiting is None or waiting[1] <= self._clock.monotonic():
            raise Unauthenticated(
                "There is no login code that is good.", hint="Print one: midflight login-code."
            )
        if not secrets.compare_digest(_digest(typed), waiting[0]):
            self._wrong += 1
            if self._wrong >= MAX_WRONG:
                self._waiting = None
            raise Unauthenticated(
                "That is not the login code.", hint="Print one: midflight login-code."
            )
        self._waiting = None
        return Person(name=waiting[2].name, proof="development-login")


class People:
    """Who is signed in, by the browser's cookie."""

    def __init__(self, *, clock: Clock, provider: LoginProvider | None, development: bool) -> None:
        """`provider` knows people; without it `development` lets login codes in, or nobody."""
        self.provider = provider
        self._codes = LoginCodes(clock=clock) if provider is None and development else None
        self._sessions: Held[Person] = Held(clock=clock, seconds=SESSION_S)
        self._states = SignInStates(clock=clock, seconds=WAITING_S)

    @property
    def possible(self) -> bool:
        """Whether anybody can sign in at all."""
        return self.provider is not None or self._codes is not None

    @property
    def development(self) -> bool:
        """Whether it is the development login."""
        return self._codes is not None

    def new_code(self, author: Author) -> tuple[str, int]:
        """A login code for the development login. `Conflict` where that is off."""
        if self._codes is None:
            raise Conflict(
                "The development login is off.",
                hint="It is on where [oauth.login] is not set and the gateway is on loopback.",
            )
        return self._codes.new(author)

    def by_code(self, code: str) -> Person:
        """Who printed the code. `Unauthenticated` if it is none."""
        if self._codes is None:
            raise Unauthenticated("There is no login by code here.")
        return self._codes.redeem(code)

    def sign_in(self, person: Person) -> str:
        """The value of a fresh cookie for this person."""
        return self._sessions.put(person)

    def of(self, cookie: str | None) -> Person | None:
        """Who is signed in, or None."""
        return None if cookie is None else self._sessions.get(cookie)

    def sign_out(self, cookie: str) -> None:
        """Nobody is signed in by that cookie any more."""
        self._sessions.take(cookie)

    async def leave(self, *, back: str, browser: str) -> str:
        """Where to send a browser to sign in; `browser` is a secret that only it has."""
        assert self.provider is not None
        state, waiting = self._states.new(back=back, browser=browser)
        return await self.provider.begin(
            state=state, nonce=waiting.nonce, verifier=waiting.verifier
        )

    async def come_back(
        self, *, state: str, code: str, issuer: str | None, browser: str | None
    ) -> tuple[Person, str]:
        """Who came back from the provider, and where to go. `Unauthenticated` if nothing holds."""
        assert self.provider is not None
        waiting = None if browser is None else self._states.of(state, browser=browser)
        if waiting is None:
            raise _over()
        if issuer is not None and issuer != self.provider.issuer:  # RFC 9207 §2.4
            raise Unauthenticated("The answer is of another issuer than was asked.")
        person = await self.provider.finish(
            code=code, nonce=waiting.nonce, verifier=waiting.verifier
        )
        # Spent with a person and not before: what strangers bring back is kept nowhere.
        if not self._states.spend(state):
            raise _over()
        return person, waiting.back


def _over() -> Unauthenticated:
    return Unauthenticated("This sign-in was not begun in this browser, or is over.")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


__all__ = ["Held", "LoginCodes", "People"]
