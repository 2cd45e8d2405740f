"""Wiring of approvers: accounts, the approval page, and questions at a provider.

A part of `compose.py`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog

from midflight.adapters.credentials.client_keys import own_token
from midflight.adapters.keys.ring_signer import RingSigner
from midflight.adapters.login.ciba import CibaProvider
from midflight.adapters.login.oidc import OidcLogin
from midflight.adapters.login.passkeys import WebauthnPasskeys
from midflight.apps.approve.answering import Answering
from midflight.apps.approve.app import ApproveFront
from midflight.apps.approve.enrolling import Enrolling
from midflight.apps.approve.signing_in import CALLBACK, SigningIn
from midflight.apps.gateway.noise import Noise
from midflight.domain.errors import MidflightError
from midflight.services.approver_accounts import ApproverAccounts
from midflight.services.approver_factors import Factors
from midflight.services.approver_people import OutsideApprovers
from midflight.services.approver_sessions import FRESH_S, ApproverSessions
from midflight.services.attempts import Attempts
from midflight.services.authorization_people import People
from midflight.services.backchannel import Asked, Backchannel
from midflight.services.ports.keys import Purpose
from midflight.services.ports.login import LoginProvider

if TYPE_CHECKING:
    from midflight.apps.compose import Plane

log = structlog.get_logger(__name__)

TICK_S = 1.0
"""How often it is looked whether a provider is to be asked."""


class ApproverParts:
    """Who answers a challenge, and where."""

    def __init__(self, plane: Plane) -> None:
        """Wire it; nothing is started."""
        self._plane = plane
        settings, store, clock = plane.settings, plane.parts.store, plane.clock
        parts = urlsplit(settings.public_url)
        host = parts.hostname or ""
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._secure = parts.scheme == "https"
        # A passkey belongs to a name: browsers make none for an address (WebAuthn §5.1.2).
        self._passkeys = not host.replace(".", "").isdigit() and ":" not in host
        self.accounts = ApproverAccounts(store=store, recorder=plane.ledger, clock=clock)
        self.sessions = ApproverSessions(store=store, clock=clock)
        self.factors = Factors(
            store=store,
            sealer=plane.sealer,
            recorder=plane.ledger,
            clock=clock,
            passkeys=WebauthnPasskeys(host=host, origin=self._origin),
            attempts=Attempts(clock=clock),
            issuer=f"Midflight {host}",
        )
        self.backchannel = self._backchannel()

    async def run(self) -> None:
        """Ask people at their provider, where one is configured, for as long as it is awaited."""
        if self.backchannel is None:
            return
        while True:
            await asyncio.sleep(TICK_S)
            try:
                await self.backchannel.tick()
            except MidflightError as error:  # what is on its way is in the store, for the next one
                log.warning("backchannel_failed", why=error.message)
            except Exception as error:  # noqa: BLE001 -- one odd answer must not end asking for good
                log.warning("backchannel_failed", why=type(error).__name__)

    def front(self, *, noise: Noise) -> ApproveFront:
        """The page, for the gateway."""
        plane, login = self._plane, self._plane.settings.approvals.login
        signing_in = SigningIn(
            factors=self.factors,
            sessions=self.sessions,
            people=People(clock=plane.clock, provider=self._provider(), development=False),
            outside=OutsideApprovers(
                store=plane.parts.store,
                sessions=self.sessions,
                clock=plane.clock,
                people=login.people,
                groups=login.groups,
            ),
            passkeys=self._passkeys,
            secure=self._secure,
        )
        return ApproveFront(
            signing_in=signing_in,
            enrolling=Enrolling(
                accounts=self.accounts,
                factors=self.factors,
                store=plane.parts.store,
                clock=plane.clock,
                secure=self._secure,
            ),
            answering=Answering(
                desk=plane.approval_desk,
                factors=self.factors,
                sessions=self.sessions,
                store=plane.parts.store,
                clock=plane.clock,
                cookie=signing_in.session,
                passkeys=self._passkeys,
                targets=signing_in.targets,
            ),
            noise=noise,
            public_url=plane.settings.public_url,
        )

    def _provider(self) -> LoginProvider | None:
        settings = self._plane.settings
        login, approvals = settings.oauth.login, settings.approvals.login
        if login is None or not (approvals.people or approvals.groups):
            return None
        return OidcLogin(
            issuer=login.issuer,
            client_id=login.client_id,
            client_secret=login.client_secret.read,
            claim=login.claim,
            redirect_uri=settings.public_url + CALLBACK,
            clock=self._plane.clock,
            groups_claim=approvals.groups_claim,
            max_age_s=int(FRESH_S),
        )

    def _backchannel(self) -> Backchannel | None:
        plane, ciba = self._plane, self._plane.settings.approvals.ciba
        if ciba is None:
            return None
        secret = ciba.client_secret
        made = Backchannel(
            provider=CibaProvider(
                issuer=ciba.issuer,
                client_id=ciba.client_id,
                client_secret=None if secret is None else secret.read,
                assertion=own_token(
                    RingSigner(plane.keys, Purpose.CLIENT),
                    issuer=ciba.client_id,
                    clock=plane.clock,
                ),
                clock=plane.clock,
            ),
            people={
                name: Asked(login_hint=person.login_hint, subject=person.subject)
                for name, person in ciba.people.items()
            },
            desk=plane.approval_desk,
            store=plane.parts.store,
            sealer=plane.sealer,
            recorder=plane.ledger,
            clock=plane.clock,
        )
        plane.approvals.on_filed(made.filed)
        return made


__all__ = ["ApproverParts"]
