"""Factors of approvers: passkeys and one-time codes, enrolled and shown.

A challenge is made here, is good once and for two minutes, and for nothing but what it was made
for: signing in, or one answer of one browser. A one-time code (RFC 6238) counts once: with it every
code of its time step and before is spent. Above: the approval page.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence

from pyotp import random_base32
from pyotp.exceptions import OTPVerificationError
from pyotp.totp import TOTP

from midflight.domain.approver import MAX_PASSKEYS, Approver, Passkey
from midflight.domain.errors import Forbidden, Unauthenticated
from midflight.domain.identity import Author
from midflight.domain.value import Discreet, JSONObject
from midflight.services.attempts import Attempts
from midflight.services.authorization_people import Held
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


class _Challenge(Discreet):
    shown = ()

    challenge: bytes
    use: str


class _NewSecret(Discreet):
    shown = ()

    secret: str
    approver: str


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
        self._sign_in = SignInChallenges(clock=clock)
        self._signed_in: Held[_Challenge] = Held(clock=clock, seconds=CHALLENGE_S)
        self._secrets: Held[_NewSecret] = Held(clock=clock, seconds=ENROLLING_S)

    # Passkeys

    async def ask_new_passkey(self, approver: Approver, *, use: str) -> Question:
        """Options for a new passkey of an account; `use` names the browser that may answer."""
        known = await self._store.list_passkeys(approver.name)
        challenge = secrets.token_bytes(32)
        return Question(
            ticket=self._signed_in.put(_Challenge(challenge=challenge, use=use)),
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
        challenge = self._taken(self._signed_in, ticket, use)
        made = self._passkeys.created(response, challenge=challenge)
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
        if approver is None:
            ticket, challenge = self._sign_in.new()
            known: Sequence[Passkey] = ()
        else:
            challenge = secrets.token_bytes(32)
            ticket = self._signed_in.put(_Challenge(challenge=challenge, use=use))
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
        challenge = (
            self._sign_in.of(ticket) if of is None else self._taken(self._signed_in, ticket, use)
        )
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
        if of is None and not self._sign_in.spend(ticket):
            raise _over()
        if not await self._store.count_passkey(passkey.id, before=passkey.count, after=count):
            raise Unauthenticated("This passkey was shown twice at once.")
        return Proved(approver=approver, proof=passkey.proof)

    # One-time codes

    def new_secret(self, approver: Approver) -> CodeSecret:
        """A secret to put into an authenticator. It counts once a code of it was shown."""
        secret = random_base32()
        uri = TOTP(secret).provisioning_uri(name=approver.name, issuer_name=self._issuer)
        ticket = self._secrets.put(_NewSecret(secret=secret, approver=approver.name))
        return CodeSecret(ticket=ticket, secret=secret, uri=uri)

    def shown_secret(self, approver: Approver, ticket: str) -> CodeSecret:
        """The secret of a ticket again, after a code that was mistyped. `Forbidden` if over."""
        held = self._secrets.get(ticket)
        if held is None or held.approver != approver.name:
            raise Forbidden("This enrolment is over.", hint="Begin it again.")
        totp = TOTP(held.secret)
        uri = totp.provisioning_uri(name=approver.name, issuer_name=self._issuer)
        return CodeSecret(ticket=ticket, secret=held.secret, uri=uri)

    async def add_secret(self, approver: Approver, code: str, *, ticket: str, proof: str) -> None:
        """Take a secret, because a code of it was shown; an older one counts no more.

        Raises:
            Forbidden: the ticket is of no secret of this account.
            Unauthenticated: the code is not of it.
        """
        held = self._secrets.get(ticket)
        if held is None or held.approver != approver.name:
            raise Forbidden("This enrolment is over.", hint="Begin it again.")
        step = self._step(held.secret, code)
        if step is None:
            raise Unauthenticated("That is not a code of this secret.", hint="Look at your clock.")
        self._secrets.take(ticket)
        key = _seal_key(approver.name)
        await self._sealer.key_for(key)
        await self._store.set_totp(
            approver.name, self._sealer.seal_text(key, held.secret), step=step
        )
        await self._enrolled(approver, proof, {"factor": f"totp:{approver.name}"})

    async def by_code(self, name: str, code: str, *, browser: str = "") -> Proved:
        """Whose code it is; `browser` names one that is signed in to that account already.

        Raises:
            TooManyAttempts: somebody guesses; it was not looked at.
            Unauthenticated: it is not a code of that account, or was used already.
        """
        key = f"browser:{browser}" if browser else f"account:{name[:100]}"
        self._attempts.begin(key, stranger=not browser)
        approver = await self._store.get_approver(name)
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

    @staticmethod
    def _taken(held: Held[_Challenge], ticket: str, use: str) -> bytes:
        found = held.take(ticket)
        if found is None or not hmac.compare_digest(found.use.encode(), use.encode()):
            raise _over()
        return found.challenge

    async def _enrolled(self, approver: Approver, proof: str, details: JSONObject) -> None:
        await record_change(
            self._recorder,
            at=self._clock.now(),
            what=f"approver.enrolled {approver.name}",
            author=Author(name=approver.name, proof=proof),
            details=details,
        )


def _over() -> Unauthenticated:
    return Unauthenticated("This challenge is over.", hint="Try again.")


def _handle(name: str) -> bytes:
    """The user handle (WebAuthn §4): says nothing to who does not know the names here."""
    return hashlib.sha256(b"midflight approver " + name.encode()).digest()


def _seal_key(name: str) -> str:
    """Under which key the secret of an account is sealed: nobody else's box opens under it."""
    return f"approver:{name}"


__all__ = ["CHALLENGE_S", "STEP_S", "CodeSecret", "Factors", "Proved", "Question"]
