"""Leases from OpenBao (or Vault): dynamic secrets of its engines, and tokens of its own.

Every lease has a token of its own, made before anything else is asked for and marked with the
lease's external name. A dynamic secret is read with that token, so it hangs under it: whatever
crashes in between, ending the tokens of that name ends the secret. An engine's own lease id, which
is known too late for that, is used to end the secret at once, with its sessions if the role's
`revocation_statements` say so (default ones of PostgreSQL leave open sessions alone).

Not here: static engines such as `kv`; their secrets have no lease, and are refused.

Midflight needs, by its policy: `update` on `auth/token/create` (or `…/create/ROLE`),
`auth/token/lookup-accessor`, `auth/token/revoke-accessor`, `auth/token/renew-accessor`,
`sys/capabilities-accessor` (to refuse policies by which a token could outlive its lease),
`sys/leases/revoke` and `sys/leases/renew`, `list` and `sudo` on `auth/token/accessors`, and the
policies that it gives to others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from midflight.adapters.credentials.calls import (
    LIMITS,
    Answer,
    CallLimits,
    Calls,
    failure,
    member,
    texts,
)
from midflight.adapters.credentials.client_keys import OwnToken
from midflight.adapters.credentials.openbao_session import (
    NAMED,
    OpenBaoSession,
    read_openbao,
    says,
)
from midflight.adapters.credentials.openbao_tokens import LeaseTokens
from midflight.adapters.credentials.reading import require_narrowing
from midflight.domain.errors import Conflict, MidflightError, Misconfigured, Unavailable
from midflight.domain.lease import Credential, Lease, Revocability, Secret
from midflight.domain.value import Discreet
from midflight.services.ports.clock import Clock
from midflight.services.ports.credential_backend import Issued
from midflight.services.ports.secret_reader import SecretReader

# Who may change one of these makes tokens that no lease ends.
_STAYING = (
    "auth/token/create-orphan",
    "auth/token/roles/any",
    "sys/policies/acl/any",
    "sys/auth/any",
)
_CHANGES = frozenset({"create", "update", "patch", "sudo", "root"})
_CLOCKS_APART_S = 300
"""How far the store's clock may be from this process's before a left-over could be missed."""


class _Token(Discreet):
    """A token made for one lease."""

    shown = ("accessor",)

    token: str
    accessor: str
    ends: int


class OpenBaoBackend:
    """`CredentialBackend` over one engine's role, or over tokens with some policies."""

    def __init__(
        self,
        credential: Credential,
        *,
        references: SecretReader,
        clock: Clock,
        installation: str = "",
        own_token: OwnToken | None = None,
        limits: CallLimits = LIMITS,
    ) -> None:
        """`installation` marks what is made here, and only what has its mark is listed.

        With `own_token` a login by `jwt` needs no secret in the settings.

        Raises:
            Misconfigured: with every problem of the settings.
        """
        self._credential, self._clock = credential, clock
        self._settings = read_openbao(credential, own=own_token is not None)
        self._session = OpenBaoSession(
            self._settings,
            calls=Calls(named=NAMED, ca=self._settings.ca, limits=limits),
            references=references,
            clock=clock,
            own_token=own_token,
        )
        self._tokens = LeaseTokens(self._session, installation=installation)
        # Of tokens made in this process: the engine's lease under each.
        self._engine_leases: dict[str, str] = {}
        self._started = clock.now()
        self._tried: set[str] = set()

    @property
    def revocability(self) -> Revocability:
        """At once: the token is refused, and the engine takes its secret back."""
        return Revocability.IMMEDIATE

    @property
    def fields(self) -> frozenset[str] | None:
        """A token, or whatever the engine makes."""
        return frozenset({"token"}) if self._settings.kind == "token" else None

    async def check(self) -> str:
        """Authenticate, and ask what Midflight may do there."""
        settings = self._settings
        create = f"auth/token/create/{settings.token_role}".rstrip("/")
        needed = {
            create: "update",
            "auth/token/accessors": "list",
            "auth/token/lookup-accessor": "update",
            "auth/token/revoke-accessor": "update",
            "sys/leases/revoke": "update",
        }
        answer = await self._session.ask(
            "POST", "sys/capabilities-self", {"paths": list(needed)}, again=True
        )
        if answer.status != 200:
            raise failure(NAMED, "the question what Midflight may do", answer.status)
        may = member(answer.json(), "data")
        missing = [
            f"{path} needs {ability}"
            for path, ability in needed.items()
            if not {"root", ability}.intersection(texts(may, path))
        ]
        if missing:
            raise Misconfigured(
                f"Midflight's token at {NAMED} may not do what leases need.",
                missing,
                hint="Add it to its policy.",
            )
        what = settings.path if settings.kind == "engine" else "tokens with named policies"
        return f"{NAMED} gives {what}, and takes it back at once."

    async def issue(self, lease: Lease) -> Issued:
        """A token of the lease's name, and the dynamic secret that is read with it."""
        require_narrowing(self._credential, lease, some=self._scoped)
        await self._clear(lease)
        token = await self._created(lease)
        if self._settings.kind == "token":
            await self._must_not_stay(token.accessor)
            secret = Secret(fields={"token": token.token}, expires_at=token.ends)
            return Issued(secret=secret, handle=token.accessor)
        try:
            answer = await self._session.call("GET", self._path(lease), token=token.token)
            issued = _read(answer, token, now=self._clock.now())
        except BaseException:
            await self._undo(token.accessor)
            raise
        self._engine_leases[token.accessor] = issued.handle.partition(" ")[2]
        return issued

    async def renew(self, lease: Lease, *, expires_at: int) -> int:
        """Renew the token and the engine's lease; whichever ends first says when."""
        accessor, _, engine_lease = lease.handle.partition(" ")
        increment = max(1, math.ceil(expires_at - self._clock.now()))
        answer = await self._session.ask(
            "POST",
            "auth/token/renew-accessor",
            {"accessor": accessor, "increment": increment},
            again=True,
        )
        lasts = _lasts(answer, "auth", "its token")
        if engine_lease:
            answer = await self._session.ask(
                "PUT",
                "sys/leases/renew",
                {"lease_id": engine_lease, "increment": increment},
                again=True,
            )
            lasts = min(lasts, _lasts(answer, "", "the engine's lease"))
        return min(expires_at, int(self._clock.now()) + lasts)

    async def revoke(self, lease: Lease) -> None:
        """End the secret at its engine, then the lease's token, or all tokens of its name."""
        accessor, _, engine_lease = lease.handle.partition(" ")
        if accessor:
            await self._end(accessor, engine_lease)
        else:
            await self.discard(lease.external)
        self._tried.discard(lease.external)

    async def _end(self, accessor: str, engine_lease: str) -> None:
        """End a token at once; what hangs under it is ended by OpenBao's queue otherwise."""
        engine_lease = engine_lease or self._engine_leases.get(accessor, "")
        problem: MidflightError | None = None
        if engine_lease:
            answer = await self._session.ask(
                "PUT", "sys/leases/revoke", {"lease_id": engine_lease, "sync": True}, again=True
            )
            if answer.status not in {200, 204}:
                # The engine could not reach what it is for, so asking again may help.
                problem = Unavailable(f"{NAMED} answers {answer.status} to revoking a lease.")
        # Even then: what cannot be ended now is at least no longer renewed.
        await self._tokens.end(accessor)
        if problem is not None:
            raise problem
        self._engine_leases.pop(accessor, None)

    async def names(self) -> Sequence[str]:
        """Names of all tokens that were made for a lease."""
        return sorted(set((await self._tokens.named()).values()))

    async def discard(self, name: str) -> None:
        """End the tokens of a name, and what hangs under them."""
        for accessor, marked in (await self._tokens.named()).items():
            if marked == name:
                await self._end(accessor, "")

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    @property
    def _scoped(self) -> bool:
        return self._settings.kind == "token" or "{scope}" in self._settings.path

    def _path(self, lease: Lease) -> str:
        return self._settings.path.replace("{scope}", lease.scopes[0] if lease.scopes else "")

    async def _clear(self, lease: Lease) -> None:
        """End what an earlier try at this lease may have left.

        A lease that is younger than this backend and was not tried here has left nothing, which
        spares most leases the look at every token.
        """
        if self._scoped and self._settings.kind == "engine" and len(lease.scopes) != 1:
            raise Conflict(
                f"Credential {self._credential.name} is leased for one scope at a time.",
                hint="Ask for one of them, or for several leases.",
            )
        if lease.external in self._tried or lease.created_at <= self._started + _CLOCKS_APART_S:
            await self.discard(lease.external)
        self._tried.add(lease.external)

    async def _created(self, lease: Lease) -> _Token:
        settings, now = self._settings, self._clock.now()
        # Never more than was meant, though the clock was set back since.
        most = max(lease.max_expires_at, lease.expires_at)
        longest = max(1, math.ceil(min(most - now, most - lease.created_at)))
        life = lease.expires_at - lease.created_at
        # A token ends with the one that it was made by, unless its role makes orphans.
        await self._session.standing(for_s=0.0 if settings.token_role else longest)
        policies = lease.scopes if settings.kind == "token" else settings.policies
        answer = await self._session.ask(
            "POST",
            f"auth/token/create/{settings.token_role}".rstrip("/"),
            {
                "policies": list(policies),
                "no_default_policy": True,
                "meta": self._tokens.marks(lease.external),
                "display_name": lease.external,
                "ttl": f"{max(1, math.ceil(min(lease.expires_at - now, life)))}s",
                "explicit_max_ttl": f"{longest}s",
                "type": "service",
            },
        )
        made = member(answer.json(), "auth")
        token, accessor, given = (
            made.get(name) for name in ("client_token", "accessor", "lease_duration")
        )
        if answer.status != 200:
            raise failure(NAMED, "the creation of a token", answer.status)
        if not (isinstance(token, str) and isinstance(accessor, str) and type(given) is int):
            raise Unavailable(f"{NAMED} made a token and does not say which.")
        wider = set(texts(made, "policies")) - set(policies)
        if wider or given <= 0 or made.get("token_type") != "service":
            await self._undo(accessor)
            raise Misconfigured(
                f"{NAMED} made a token that has more policies or another life than was asked for.",
                hint="Check allowed_policies, token_no_default_policy and token_type of its role.",
            )
        self._tokens.made(accessor, lease.external)
        return _Token(token=token, accessor=accessor, ends=int(now) + given)

    async def _must_not_stay(self, accessor: str) -> None:
        """`Misconfigured` if a token could make others that its end does not end.

        It is looked at where Midflight may ask (`update` on `sys/capabilities-accessor`).
        """
        answer = await self._session.ask(
            "POST",
            "sys/capabilities-accessor",
            {"accessor": accessor, "paths": list(_STAYING)},
            again=True,
        )
        may = member(answer.json(), "data") if answer.status == 200 else {}
        if path := next((path for path in _STAYING if _CHANGES.intersection(texts(may, path))), ""):
            await self._undo(accessor)
            raise Misconfigured(
                f"Credential {self._credential.name} would lend a token that may change {path}, "
                "and so make tokens that outlive it.",
                hint="Lend policies that do not reach it.",
            )

    async def _undo(self, accessor: str) -> None:
        # If it fails, `revoke` finds the token by its name; what went wrong first is the news.
        try:
            await self._tokens.end(accessor)
        except MidflightError:
            return


def _read(answer: Answer, token: _Token, *, now: float) -> Issued:
    if answer.status != 200:
        raise failure(
            NAMED,
            "the reading of a dynamic secret",
            answer.status,
            hint="Check the engine's role, and that the policies of the settings may read it.",
        )
    body = answer.json()
    engine_lease, life = body.get("lease_id"), body.get("lease_duration")
    fields = {name: value for name, value in member(body, "data").items() if isinstance(value, str)}
    if not (isinstance(engine_lease, str) and engine_lease and isinstance(life, int) and life > 0):
        raise Misconfigured(
            f"The path of a credential at {NAMED} gives a secret that has no lease.",
            hint="Name a dynamic role, such as database/creds/ROLE; static secrets are `sealed`.",
        )
    if not fields:
        raise Misconfigured(f"The path of a credential at {NAMED} gives no text.")
    ends = min(token.ends, int(now) + life)
    handle = f"{token.accessor} {engine_lease}"
    return Issued(secret=Secret(fields=fields, expires_at=ends), handle=handle)


def _lasts(answer: Answer, inside: str, what: str) -> int:
    """Seconds that a renewed thing lasts; `Conflict` if it cannot be renewed."""
    if answer.status in {400, 403, 404} or says(answer, "lease not found"):
        raise Conflict(f"{NAMED} does not renew {what}.", hint="Ask for a new lease.")
    if answer.status != 200:
        raise failure(NAMED, "a renewal", answer.status)
    body = answer.json()
    life = (member(body, inside) if inside else body).get("lease_duration")
    if not isinstance(life, int) or life <= 0:
        raise Conflict(f"{NAMED} does not say how long {what} lasts.", hint="Ask for a new lease.")
    return life


__all__ = ["OpenBaoBackend"]
