"""Factors of approvers: passkeys and one-time codes, enrolled and shown.

A challenge is made here, is good once and for two minutes, and for nothing but what it was made
for: signing in, one answer of one browser, or one enrolment; none is kept before it is answered
(`sign_in_challenges.py`). A one-time code (RFC 6238) counts once: with it every
code of its time step and before is spent. Above: the approval page.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence

from pyotp import random_base32
from pyotp.exceptions import OTPVerificationError
from pyotp.totp import TOTP

from midflight.domain.approver import MAX_PASSKEYS, Approver, Passkey
from midflight.domain.errors import Forbidden, Unauthenticated
from midflight.domain.identity import Author
from midflight.domain.value import Discreet, JSONObject
from midflight.services.attempts import Attempts
from midflight.services.changes import record_change
from midflight.services.ports.approver_store import ApproverStore
from midflight.services.ports.clock import Clock
from midflight.services.ports.passkeys import Passkeys
from midflight.services.ports.recorder import Recorder
from midflight.services.sealing import Sealer
from midflight.services.sign_in_challenges import SignInChallenges

CHALLENGE_S = 120.0
ENROLLING_S = 600.0
STEP_S = 30
KNOWN_S = 30 * 86_400
"""How long a browser in which somebody signed in is known, where this process lasts as long."""
_CODE = re.compile(r"[0-9]{6}\Z")
_NOBODY = random_base32()


class Proved(Discreet):
    """Whose factor was shown just now, and which: `passkey:…` or `totp:NAME`."""

    shown = ("proof",)

    approver: Approver
    proof: str


class Question(Discreet):
    """A challenge on its way to a browser: the ticket that names it, and what the browser asks."""

    shown = ()

    ticket: str
    options: JSONObject


class CodeSecret(Discreet):
    """The secret of one-time codes, to be put into an authenticator, and as its `otpauth` URI."""

    shown = ()

    ticket: str
    secret: str
    uri: str


class Factors:
    """See the module."""

    def __init__(
        self,
        *,
        store: ApproverStore,
        sealer: Sealer,
        recorder: Recorder,
        clock: Clock,
        passkeys: Passkeys,
        attempts: Attempts,
        issuer: str,
    ) -> None:
        """`issuer` is what an authenticator shows beside the account."""
        self._store = store
        self._sealer = sealer
        self._recorder = recorder
        self._clock = clock
        self._passkeys = passkeys
        self._attempts = attempts
        self._issuer = issuer
        self._challenges = SignInChallenges(clock=clock, seconds=CHALLENGE_S)
        self._known = SignInChallenges(clock=clock, seconds=KNOWN_S)
        self._secrets = SignInChallenges(clock=clock, seconds=ENROLLING_S)

    # Passkeys

    async def ask_new_passkey(self, approver: Approver, *, use: str) -> Question:
        """Options for a new passkey of an account; `use` names the browser that may answer."""
        known = await self._store.list_passkeys(approver.name)
        ticket, challenge = self._challenges.new(_use(use, approver))
        return Question(
            ticket=ticket,
            options=self._passkeys.creation(
                account=approver.name,
                handle=_handle(approver.name),
                challenge=challenge,
                known=[each.id for each in known],
            ),
        )

    async def add_passkey(
        self, approver: Approver, response: str, *, ticket: str, use: str, proof: str
    ) -> None:
        """Take a new passkey; `proof` is by what its person is known.

        Raises:
            Unauthenticated: it does not answer a challenge that was made for this.
            Conflict: it is enrolled already, or there are too many.
        """
        challenge = self._challenges.of(ticket, _use(use, approver))
        if challenge is None:
            raise _over()
        made = self._passkeys.created(response, challenge=challenge)
        if not self._challenges.spend(ticket):
            raise _over()
        passkey = Passkey(
            id=made.id,
            approver=approver.name,
            key=made.key,
            count=made.count,
            added_at=int(self._clock.now()),
        )
        await self._store.add_passkey(passkey, limit=MAX_PASSKEYS)
        await self._enrolled(approver, proof, {"factor": passkey.proof})

    async def ask_passkey(self, approver: Approver | None = None, *, use: str = "") -> Question:
        """Options to show a passkey: any, to sign in; or one of an account, for a `use`."""
        ticket, challenge = self._challenges.new(_use(use, approver))
        known: Sequence[Passkey] = ()
        if approver is not None:
            known = await self._store.list_passkeys(approver.name)
        return Question(
            ticket=ticket,
            options=self._passkeys.request(
                challenge=challenge, allowed=[each.id for each in known]
            ),
        )

    async def by_passkey(
        self, response: str, *, ticket: str, use: str = "", of: Approver | None = None
    ) -> Proved:
        """Whose passkey answered; `of` somebody, if it must be his.

        Raises:
            Unauthenticated: it does not answer a challenge that was made for this, is nobody's
                here, or its counter went back: then it may have been copied.
        """
        challenge = self._challenges.of(ticket, _use(use, of))
        if challenge is None:
            raise _over()
        credential, handle = self._passkeys.named(response)
        passkey = await self._store.get_passkey(credential)
        approver = None if passkey is None else await self._store.get_approver(passkey.approver)
        if passkey is None or approver is None or approver.disabled:
            raise Unauthenticated("This passkey is nobody's here.")
        if of is not None and approver.name != of.name:
            raise Unauthenticated("This passkey is not yours.")
        if handle is not None and not hmac.compare_digest(handle, _handle(approver.name)):
            raise Unauthenticated("This passkey is of another account.")
        count = self._passkeys.asserted(
            response, challenge=challenge, key=passkey.key, count=passkey.count
        )
        if not self._challenges.spend(ticket):
            raise _over()
        if not await self._store.count_passkey(passkey.id, before=passkey.count, after=count):
            raise Unauthenticated("This passkey was shown twice at once.")
        return Proved(approver=approver, proof=passkey.proof)

    # One-time codes

    def new_secret(self, approver: Approver) -> CodeSecret:
        """A secret to put into an authenticator. It counts once a code of it was shown."""
        ticket, challenge = self._secrets.new(_use("secret", approver))
        return self._code_secret(approver, ticket, challenge)

    def shown_secret(self, approver: Approver, ticket: str) -> CodeSecret:
        """The secret of a ticket again, after a code that was mistyped. `Forbidden` if over."""
        challenge = self._secrets.of(ticket, _use("secret", approver))
        if challenge is None:
            raise Forbidden("This enrolment is over.", hint="Begin it again.")
        return self._code_secret(approver, ticket, challenge)

    async def add_secret(self, approver: Approver, code: str, *, ticket: str, proof: str) -> None:
        """Take a secret, because a code of it was shown; an older one counts no more.

        Raises:
            Forbidden: the ticket is of no secret of this account.
            Unauthenticated: the code is not of it.
        """
        secret = self.shown_secret(approver, ticket).secret
        step = self._step(secret, code)
        if step is None:
            raise Unauthenticated("That is not a code of this secret.", hint="Look at your clock.")
        if not self._secrets.spend(ticket):
            raise Forbidden("This enrolment is over.", hint="Begin it again.")
        key = _seal_key(approver.name)
        await self._sealer.key_for(key)
        await self._store.set_totp(approver.name, self._sealer.seal_text(key, secret), step=step)
        await self._enrolled(approver, proof, {"factor": f"totp:{approver.name}"})

    def known_browser(self, approver: Approver) -> str:
        """What a browser keeps in which he has just signed in: its guesses are counted apart.

        So strangers who guess hold nobody up where he usually signs in (OWASP, "device cookies").
        """
        return self._known.new(_use("known", approver))[0]

    async def by_code(self, name: str, code: str, *, browser: str = "", known: str = "") -> Proved:
        """Whose code it is.

        `browser` names one that is signed in to that account already, `known` is what one keeps in
        which somebody was (`known_browser`).

        Raises:
            TooManyAttempts: somebody guesses; it was not looked at.
            Unauthenticated: it is not a code of that account, or was used already.
        """
        approver = await self._store.get_approver(name)
        key = f"account:{name[:100]}"
        if browser:
            key = f"browser:{browser}"
        elif approver is not None and self._known.of(known, _use("known", approver)) is not None:
            key = f"known:{known}"
        self._attempts.begin(key, stranger=key.startswith("account:"))
        sealed = None if approver is None or approver.disabled else approver.totp
        secret = await self._sealer.open_text(_seal_key(name), sealed)
        step = self._step(secret or _NOBODY, code)
        if (
            approver is None
            or sealed is None
            or secret is None
            or step is None
            or not await self._store.use_totp(name, sealed, step=step)
        ):
            raise Unauthenticated(
                "That is not a code of this account, or it was used already.",
                hint="Wait for the next one.",
            )
        self._attempts.passed(key)
        return Proved(approver=approver, proof=f"totp:{name}")

    # Inside

    def _step(self, secret: str, code: str) -> int | None:
        """The time step that a code is of: now, or one before or after (RFC 6238 §5.2)."""
        typed = code.replace(" ", "")
        if _CODE.match(typed) is None:
            return None
        totp = TOTP(secret, interval=STEP_S)
        try:
            return totp.verify_and_get_timecode(
                typed, for_time=int(self._clock.now()), valid_window=1
            )
        except OTPVerificationError:
            return None

    def _code_secret(self, approver: Approver, ticket: str, challenge: bytes) -> CodeSecret:
        secret = base64.b32encode(challenge[:20]).decode("ascii")  # RFC 4226 §4: 160 bits
        uri = TOTP(secret).provisioning_uri(name=approver.name, issuer_name=self._issuer)
        return CodeSecret(ticket=ticket, secret=secret, uri=uri)

    async def _enrolled(self, approver: Approver, proof: str, details: JSONObject) -> None:
        await record_change(
            self._recorder,
            at=self._clock.now(),
            what=f"approver.enrolled {approver.name}",
            author=Author(name=approver.name, proof=proof),
            details=details,
        )


def _use(use: str, approver: Approver | None) -> str:
    """What a ticket is for, and whose: an account cannot be called what a stranger is."""
    return f"{use}\0{'' if approver is None else approver.name}"


def _over() -> Unauthenticated:
    return Unauthenticated("This challenge is over.", hint="Try again.")


def _handle(name: str) -> bytes:
    """The user handle (WebAuthn §4): says nothing to who does not know the names here."""
    return hashlib.sha256(b"midflight approver " + name.encode()).digest()


def _seal_key(name: str) -> str:
    """Under which key the secret of an account is sealed: nobody else's box opens under it."""
    return f"approver:{name}"


__all__ = ["CHALLENGE_S", "STEP_S", "CodeSecret", "Factors", "Proved", "Question"]
