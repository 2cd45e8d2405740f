"""Leases from an upstream's OAuth authorization server: of Midflight, a workload, or a person.

Midflight is the client: with credentials of its own, with a token of the workload that is exchanged
(RFC 8693) or is the grant itself (RFC 7523), so the upstream sees who acts, or with the login of a
person (`oauth_login.py`). With DPoP (RFC 9449) a stolen token is of no use without its key. A token
that is wider than the lease, or of another type than asked for, is revoked and refused.

Only whoever holds a token can revoke it (RFC 7009), and servers that read tokens by themselves
learn of it at their end. So a token counts as ending at its expiry, and is revoked while this
process holds it; after a crash it is in nobody's hands.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias
from urllib.parse import urlsplit

import msgspec

from midflight.adapters.credentials.calls import LIMITS, CallLimits, Calls, Sends
from midflight.adapters.credentials.dpop_proofs import KEY_FIELD, DpopKey
from midflight.adapters.credentials.guarded_calls import GuardedCalls
from midflight.adapters.credentials.native_ends import native_end, native_handle
from midflight.adapters.credentials.oauth_answers import (
    ACCESS_TOKEN_TYPE,
    Answered,
    answered,
    token_in,
)
from midflight.adapters.credentials.oauth_discovery import (
    Described,
    only_server,
    require_listed,
    server_metadata,
)
from midflight.adapters.credentials.oauth_id_jag import EXCHANGE, IdentityProvider
from midflight.adapters.credentials.oauth_identity import ClientIdentity
from midflight.adapters.credentials.oauth_login import OAuthLogin
from midflight.adapters.credentials.oauth_server import NAMED, OAuthServer
from midflight.adapters.credentials.oauth_settings import OAuthSettings, read_oauth
from midflight.adapters.credentials.reading import is_loopback, require_narrowing
from midflight.adapters.documents.exchange import Reach
from midflight.domain.errors import Conflict, MidflightError, Misconfigured
from midflight.domain.lease import Credential, Lease, Revocability, Secret
from midflight.services.ports.clock import Clock
from midflight.services.ports.credential_backend import Issued
from midflight.services.ports.keys import Signer
from midflight.services.ports.logins import BegunLogin, EndedLogin, Logins
from midflight.services.ports.secret_reader import SecretReader

BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"

SubjectToken: TypeAlias = Callable[[Lease], Awaitable[str]]
"""Makes what says who a lease's workload is: a JWT-SVID, or an access token of Midflight's."""


class OAuthBackend:
    """`CredentialBackend`, `LogsIn` and `Pins` over one client at one authorization server."""

    def __init__(
        self,
        credential: Credential,
        *,
        references: SecretReader,
        clock: Clock,
        signer: Signer | None = None,
        subject_token: SubjectToken | None = None,
        logins: Logins | None = None,
        limits: CallLimits = LIMITS,
    ) -> None:
        """`signer` takes the place of a private key in the settings; `logins` keeps those.

        Raises:
            Misconfigured: with every problem of the settings.
        """
        self._credential, self._clock, self._subject_token = credential, clock, subject_token
        self._settings = read_oauth(
            credential, signer=signer is not None, subject=subject_token is not None
        )
        self._calls = _calls(self._settings, limits)
        self._server = OAuthServer(
            self._settings,
            calls=self._calls,
            identity=ClientIdentity(
                self._settings, references=references, clock=clock, signer=signer
            ),
            clock=clock,
        )
        self._idp: IdentityProvider | None = None
        if self._settings.grant == "id_jag":
            self._idp = IdentityProvider(
                credential, references=references, clock=clock, limits=limits
            )
        self._login: OAuthLogin | None = None
        if self._settings.grant == "authorization_code":
            if logins is None:
                raise Misconfigured("Logins of people are kept nowhere here.")
            self._login = OAuthLogin(
                credential, self._settings, server=self._server, logins=logins, clock=clock
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
        """Read the server's metadata, and with `discover` the upstream's."""
        known = await self._server.known(anew=True)
        if self._settings.dpop and "ES256" not in known.server.proof_algorithms:
            raise Misconfigured(f"{NAMED} does not say that it takes DPoP proofs with ES256.")
        ends = "are revoked" if known.server.revocation else "end by expiry alone"
        said = f"{NAMED} {self._settings.issuer} is who it says; its tokens {ends}."
        if self._settings.discover:
            described = await self._server.described()
            if described.resource != self._settings.resource:
                said += f" They are for the whole of {described.resource}, as its metadata says."
            said += _lacking(described, self._credential)
        return said

    async def pinned(self) -> Credential:
        """See `Pins`: the issuer that the upstream names, and the scopes that it asks for.

        What an operator wrote stays; with an issuer of theirs, the upstream must name that one.
        """
        settings = self._settings
        if not settings.discover:
            return self._credential
        described = await self._server.described()
        issuer = settings.issuer or only_server(described)
        require_listed(described, issuer)
        await server_metadata(issuer, self._calls)
        return msgspec.structs.replace(
            self._credential,
            settings={**self._credential.settings, "issuer": issuer},
            scopes=self._credential.scopes or described.scopes or (),
        )

    async def issue(self, lease: Lease) -> Issued:
        """An access token with the lease's scopes, and its key if it is bound to one."""
        require_narrowing(self._credential, lease, some=False)
        await self.revoke(lease)
        if self._login is not None:
            got, private = await self._login.access(lease)
        else:
            key = DpopKey.fresh(clock=self._clock) if self._settings.dpop else None
            got = await self._asked(lease, key)
            private = "" if key is None else key.private_jwk()
        fields = {"token": got.token}
        if private:
            fields[KEY_FIELD] = private
        ends = got.expires_at
        return Issued(secret=Secret(fields=fields, expires_at=ends), handle=native_handle(ends))

    async def renew(self, lease: Lease, *, expires_at: int) -> int:
        """`Conflict`: a new token takes its place."""
        raise Conflict(
            f"An access token is not renewed, so {lease.id} cannot last until {expires_at}.",
            hint="Ask for a new lease.",
        )

    async def revoke(self, lease: Lease) -> int | None:
        """Revoke the token, if it is the lease's alone, still held here, and the server can.

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
        if self._idp is not None:
            await self._idp.close()
        await self._server.close()

    async def begin_login(self, redirect_uri: str) -> BegunLogin:
        """See `LogsIn`."""
        return await self._people().begin(redirect_uri)

    async def finish_login(self, login: str, parameters: Mapping[str, str]) -> EndedLogin:
        """See `LogsIn`."""
        return await self._people().finish(login, parameters)

    async def end_login(self) -> None:
        """See `LogsIn`."""
        if self._login is not None:
            await self._login.forget()

    def _people(self) -> OAuthLogin:
        if self._login is None:
            raise Conflict(
                f"Nobody logs in for credential {self._credential.name}.",
                hint="Its grant is another one than authorization_code.",
            )
        return self._login

    async def _asked(self, lease: Lease, key: DpopKey | None) -> Answered:
        now = int(self._clock.now())
        answer = await self._server.token(await self._form(lease), key=key)
        self._held[lease.id] = token_in(answer)
        try:
            return answered(answer, asked=lease.scopes, dpop=key is not None, now=now)
        except Misconfigured:
            await self._give_back(lease)
            raise

    async def _form(self, lease: Lease) -> dict[str, str]:
        settings = self._settings
        known = await self._server.known()
        form = {"grant_type": "client_credentials"}
        if self._idp is not None:
            grant = await self._idp.assertion(known, lease.scopes)
            form = {"grant_type": BEARER, "assertion": grant}
        elif settings.grant == "jwt_bearer":
            form = {"grant_type": BEARER, "assertion": await self._subject(lease)}
        elif settings.grant == "token_exchange":
            form = {
                "grant_type": EXCHANGE,
                "subject_token": await self._subject(lease),
                "subject_token_type": settings.subject_token_type,
                "requested_token_type": ACCESS_TOKEN_TYPE,
            }
        more = {
            "scope": " ".join(lease.scopes),
            "resource": known.resource,
            "audience": settings.audience,
        }
        return {**form, **{name: value for name, value in more.items() if value}}

    async def _subject(self, lease: Lease) -> str:
        assert self._subject_token is not None  # `read_oauth` has looked
        return await self._subject_token(lease)

    async def _give_back(self, lease: Lease) -> None:
        # What is wrong with the token is the news; `revoke` is called again for the lease.
        try:
            await self.revoke(lease)
        except MidflightError:
            return


def _calls(settings: OAuthSettings, limits: CallLimits) -> Sends:
    """Guarded where the upstream names what is called; else hosts are an operator's word."""
    if not settings.discover:
        return Calls(named=NAMED, ca=settings.ca, limits=limits)
    # What an upstream on this machine names may be there, too; what another names may not.
    here = is_loopback(urlsplit(settings.resource).hostname or "")
    return GuardedCalls(
        named="The upstream or its authorization server",
        reach=Reach(private=settings.private, loopback=here),
        ca=settings.ca,
    )


def _lacking(described: Described, credential: Credential) -> str:
    """What the upstream asks for and the credential has not, for operators."""
    missing = [s for s in described.scopes or () if s not in credential.scopes]
    if not missing:
        return ""
    return f" The upstream asks for scopes that it has not: {' '.join(missing[:20])[:400]}."


__all__ = ["ACCESS_TOKEN_TYPE", "BEARER", "EXCHANGE", "OAuthBackend", "SubjectToken"]
