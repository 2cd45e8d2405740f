"""Leases from an upstream's OAuth authorization server: client credentials, and token exchange.

Midflight is the client. With token exchange (RFC 8693) the subject is the workload, so the upstream
sees who acts; with DPoP (RFC 9449) a stolen token is of no use without the lease's key. A token
that is wider than the lease, or of another type than asked for, is revoked and refused.

Only whoever holds a token can revoke it (RFC 7009), and servers that read tokens by themselves
learn of it at their end. So a token counts as ending at its expiry, and is revoked while this
process holds it; after a crash it is in nobody's hands.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from midflight.adapters.credentials.calls import LIMITS, CallLimits, Calls
from midflight.adapters.credentials.dpop_proofs import KEY_FIELD, DpopKey
from midflight.adapters.credentials.native_ends import native_end, native_handle
from midflight.adapters.credentials.oauth_server import NAMED, OAuthServer
from midflight.adapters.credentials.oauth_settings import read_oauth
from midflight.adapters.credentials.reading import require_narrowing
from midflight.domain.errors import Conflict, MidflightError, Misconfigured
from midflight.domain.lease import Credential, Lease, Revocability, Secret
from midflight.domain.value import JSONObject
from midflight.services.ports.clock import Clock
from midflight.services.ports.credential_backend import Issued
from midflight.services.ports.keys import Signer
from midflight.services.ports.secret_reader import SecretReader

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 -- a name

SubjectToken: TypeAlias = Callable[[Lease], Awaitable[str]]
"""Makes what says who a lease's workload is: a JWT-SVID, or an access token of Midflight's."""

_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}\Z")


class OAuthBackend:
    """`CredentialBackend` over one client at one authorization server."""

    def __init__(
        self,
        credential: Credential,
        *,
        references: SecretReader,
        clock: Clock,
        signer: Signer | None = None,
        subject_token: SubjectToken | None = None,
        limits: CallLimits = LIMITS,
    ) -> None:
        """`signer` takes the place of a private key in the settings.

        Raises:
            Misconfigured: with every problem of the settings.
        """
        self._credential, self._clock, self._subject_token = credential, clock, subject_token
        self._settings = read_oauth(
            credential, signer=signer is not None, subject=subject_token is not None
        )
        self._server = OAuthServer(
            self._settings,
            calls=Calls(named=NAMED, ca=self._settings.ca, limits=limits),
            references=references,
            clock=clock,
            signer=signer,
        )
        self._held: dict[str, str] = {}

    @property
    def revocability(self) -> Revocability:
        """At its end; see the head of this module."""
        return Revocability.AT_EXPIRY

    @property
    def fields(self) -> frozenset[str] | None:
        """A token, and its key if it is bound to one."""
        return frozenset({"token", KEY_FIELD} if self._settings.dpop else {"token"})

    async def check(self) -> str:
        """Read the server's metadata."""
        metadata = await self._server.metadata()
        if self._settings.dpop and not metadata.dpop:
            raise Misconfigured(f"{NAMED} does not say that it takes DPoP proofs with ES256.")
        ends = "are revoked" if metadata.revocation else "end by expiry alone"
        return f"{NAMED} {self._settings.issuer} is who it says; its tokens {ends}."

    async def issue(self, lease: Lease) -> Issued:
        """An access token with the lease's scopes, and its key if it is bound to one."""
        require_narrowing(self._credential, lease, some=False)
        await self.revoke(lease)
        key = DpopKey.fresh(clock=self._clock) if self._settings.dpop else None
        now = int(self._clock.now())
        answer = await self._server.token(await self._form(lease), key=key)
        token = answer.get("access_token")
        if not isinstance(token, str) or _TOKEN.match(token) is None:
            raise Misconfigured(f"{NAMED} gives no access token that can be sent.")
        self._held[lease.id] = token
        problem = self._problem(answer, lease)
        if problem:
            await self._give_back(lease)
            raise Misconfigured(f"{NAMED} {problem}.", hint="Check the client's registration.")
        fields = {"token": token}
        if key is not None:
            fields[KEY_FIELD] = key.private_jwk()
        ends = now + int(answer["expires_in"])
        return Issued(secret=Secret(fields=fields, expires_at=ends), handle=native_handle(ends))

    async def renew(self, lease: Lease, *, expires_at: int) -> int:
        """`Conflict`: a new token takes its place; no refresh token is asked for or kept."""
        raise Conflict(
            f"An access token is not renewed, so {lease.id} cannot last until {expires_at}.",
            hint="Ask for a new lease.",
        )

    async def revoke(self, lease: Lease) -> int | None:
        """Revoke the token, if it is still held here and the server can.

        Servers that read tokens by themselves go on taking it until it ends, so that is said.
        """
        token = self._held.get(lease.id)
        if token is not None:
            await self._server.revoke(token)
            self._held.pop(lease.id, None)
        return native_end(lease, unknown=lease.expires_at)

    async def names(self) -> Sequence[str]:
        """Empty: no server lists a client's tokens."""
        return ()

    async def discard(self, name: str) -> None:
        """Nothing to do, since nothing is listed."""

    async def close(self) -> None:
        """Close the connections."""
        await self._server.close()

    async def _form(self, lease: Lease) -> dict[str, str]:
        settings = self._settings
        form = {"grant_type": "client_credentials"}
        if settings.grant == "token_exchange":
            assert self._subject_token is not None
            form = {
                "grant_type": EXCHANGE,
                "subject_token": await self._subject_token(lease),
                "subject_token_type": settings.subject_token_type,
                "requested_token_type": ACCESS_TOKEN_TYPE,
            }
        more = {
            "scope": " ".join(lease.scopes),
            "resource": settings.resource,
            "audience": settings.audience,
        }
        return {**form, **{name: value for name, value in more.items() if value}}

    def _problem(self, answer: JSONObject, lease: Lease) -> str:
        """What is wrong with a token, or an empty text."""
        kind = "dpop" if self._settings.dpop else "bearer"
        if str(answer.get("token_type")).lower() != kind:
            return f"gives a token of another type than {kind}"
        life = answer.get("expires_in")
        if type(life) is not int or life <= 0:
            return "does not say when its token ends"
        # Without `scope` it is as asked for (RFC 6749 §5.1).
        granted = answer.get("scope", " ".join(lease.scopes))
        if not isinstance(granted, str) or not set(granted.split()) <= set(lease.scopes):
            return "grants scopes that were not asked for"
        if answer.get("issued_token_type", ACCESS_TOKEN_TYPE) != ACCESS_TOKEN_TYPE:
            return "gives another token than an access token"
        return ""

    async def _give_back(self, lease: Lease) -> None:
        # What is wrong with the token is the news; `revoke` is called again for the lease.
        try:
            await self.revoke(lease)
        except MidflightError:
            return


__all__ = ["ACCESS_TOKEN_TYPE", "EXCHANGE", "OAuthBackend", "SubjectToken"]
