"""Leases from GitHub: installation access tokens of an App, for named repositories and permissions.

A scope is `PERMISSION:LEVEL@REPOSITORY`, such as `contents:read@docs`. One token has the same
permissions on all of its repositories, so a lease whose scopes differ from one repository to the
next is refused: it would be granted more than it asked for.

GitHub gives every token one hour, and takes it back only from whoever shows it. So it is revoked
while this process lives; after a crash it is in nobody's hands, and ends within the hour.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from typing import cast

import msgspec

from midflight.adapters.credentials.calls import (
    Answer,
    CallLimits,
    Calls,
    failure,
    member,
)
from midflight.adapters.credentials.client_keys import PemSigner, signed_jwt
from midflight.adapters.credentials.native_ends import UNKNOWN_S, native_end, native_handle
from midflight.adapters.credentials.reading import Reading, require_narrowing
from midflight.domain.errors import Conflict, Misconfigured, Unavailable
from midflight.domain.lease import Credential, Lease, Revocability, Secret
from midflight.domain.value import JSONObject, Value
from midflight.services.ports.clock import Clock
from midflight.services.ports.credential_backend import Issued
from midflight.services.ports.keys import Signer
from midflight.services.ports.secret_reader import SecretReader

NAMED = "GitHub"
API_VERSION = "2022-11-28"
SCOPE = r"[a-z_]+:(?:read|write|admin)@[A-Za-z0-9._-]+"
JWT_LIFE_S = 540
"""GitHub accepts ten minutes at most; a minute is left for clocks that are apart."""
TOKEN_S = 3_600
"""How long a token lives."""
_NONE = ""

# An answer repeats each repository at length.
LIMITS = CallLimits(bytes=4 * 1024 * 1024)
_ALWAYS = {"metadata": "read"}  # goes with every token that may read anything


class GitHubSettings(Value):
    """What `Credential.settings` says of an App. `private_key` is a reference, or empty.

    `app_id` is the App's id or its client id; `installation_id` says where it is installed; `api`
    is another than github.com's for an Enterprise Server; `ca` a PEM file of CAs to trust instead.
    """

    app_id: str
    installation_id: str
    private_key: str
    api: str
    ca: str = ""


def read_github(credential: Credential, *, signer: bool) -> GitHubSettings:
    """The settings, or `Misconfigured` with every problem."""
    with Reading.of(credential) as reading:
        settings = GitHubSettings(
            app_id=reading.text("app_id", form=r"[A-Za-z0-9.]{1,64}"),
            installation_id=reading.text("installation_id", form=r"\d{1,20}"),
            private_key=reading.reference("private_key", required=not signer),
            api=reading.url("api", default="https://api.github.com"),
            ca=reading.text("ca", default=""),
        )
        reading.scopes(credential, form=SCOPE, like="contents:read@docs")
    return settings


class GitHubAppBackend:
    """`CredentialBackend` over one installation of an App."""

    def __init__(
        self,
        credential: Credential,
        *,
        references: SecretReader,
        clock: Clock,
        signer: Signer | None = None,
        limits: CallLimits = LIMITS,
    ) -> None:
        """`signer` takes the place of the private key in the settings; its algorithm is RS256.

        Raises:
            Misconfigured: with every problem of the settings.
        """
        self._credential, self._references, self._clock = credential, references, clock
        self._settings = read_github(credential, signer=signer is not None)
        self._signer = signer
        self._calls = Calls(named=NAMED, ca=self._settings.ca, limits=limits)
        # Lease id to its token, or to `_NONE` where it is certain that there is none.
        self._held: dict[str, str] = {}

    @property
    def revocability(self) -> Revocability:
        """At its end, which is an hour away: only whoever has a token can revoke it."""
        return Revocability.AT_EXPIRY

    @property
    def fields(self) -> frozenset[str] | None:
        """A token."""
        return frozenset({"token"})

    async def check(self) -> str:
        """Ask whether the installation is the App's, and may be used."""
        answer = await self._as_app("GET", f"/app/installations/{self._settings.installation_id}")
        if answer.status != 200:
            raise _failed("the question for the installation", answer)
        if answer.json().get("suspended_at"):
            raise Misconfigured(f"The installation at {NAMED} is suspended.")
        return f"{NAMED} knows the App and its installation; tokens live one hour."

    async def issue(self, lease: Lease) -> Issued:
        """A token for the repositories and permissions of the lease's scopes, and no others."""
        require_narrowing(self._credential, lease, some=True)
        repositories, permissions = asked_of(lease.scopes)
        await self.revoke(lease)
        answer = await self._as_app(
            "POST",
            f"/app/installations/{self._settings.installation_id}/access_tokens",
            {"repositories": repositories, "permissions": permissions},
        )
        token = answer.text("token")
        if 400 <= answer.status < 500:
            self._held[lease.id] = _NONE
        if answer.status != 201 or not re.fullmatch(r"[\x21-\x7e]+", token):
            raise _failed("the request for a token", answer)
        self._held[lease.id] = token
        body = answer.json()
        given = member(body, "permissions")
        wide = {
            name for name, level in given.items() if {**_ALWAYS, **permissions}.get(name) != level
        }
        if wide or body.get("repository_selection") != "selected" or _foreign(body, repositories):
            await self._give_back(lease)
            raise Misconfigured(f"{NAMED} gave a token for more than was asked for.")
        try:
            ends = int(dt.datetime.fromisoformat(answer.text("expires_at")).timestamp())
        except ValueError:
            await self._give_back(lease)
            raise Unavailable(f"{NAMED} does not say when its token ends.") from None
        return Issued(
            secret=Secret(fields={"token": token}, expires_at=ends), handle=native_handle(ends)
        )

    async def renew(self, lease: Lease, *, expires_at: int) -> int:
        """`Conflict`: a token is not renewed."""
        raise Conflict(
            f"{NAMED} renews no token, so {lease.id} cannot last until {expires_at}.",
            hint="Ask for a new lease.",
        )

    async def revoke(self, lease: Lease) -> int | None:
        """Give the token back, if it is still held here; else it lives for an hour."""
        token = self._held.get(lease.id)
        if token is None:
            return native_end(lease, unknown=lease.created_at + TOKEN_S + UNKNOWN_S)
        if token == _NONE:
            self._held.pop(lease.id)
            return None
        answer = await self._call("DELETE", "/installation/token", bearer=token)
        if answer.status not in {204, 401, 404}:  # 401: it is no longer valid
            raise _failed("the revoking of a token", answer)
        self._held.pop(lease.id, None)
        return None

    async def _give_back(self, lease: Lease) -> None:
        """Give back what is not handed out; `revoke` is called once more for the lease."""
        await self.revoke(lease)
        self._held[lease.id] = _NONE

    async def names(self) -> Sequence[str]:
        """Empty: GitHub lists no tokens."""
        return ()

    async def discard(self, name: str) -> None:
        """Nothing to do, since nothing is listed."""

    async def close(self) -> None:
        """Close the connections."""
        await self._calls.close()

    async def _as_app(
        self, method: str, path: str, body: Mapping[str, object] | None = None
    ) -> Answer:
        signer = self._signer
        if signer is None:
            reference = self._settings.private_key
            signer = PemSigner(await self._references.read(reference), named=reference)
        if signer.algorithm != "RS256":
            raise Misconfigured(f"{NAMED} wants an RSA key.", hint="Give the App's own key.")
        now = int(self._clock.now())
        claims = {"iat": now - 60, "exp": now + JWT_LIFE_S, "iss": self._settings.app_id}
        return await self._call(
            method, path, body, bearer=await signed_jwt(signer, claims, kid=False)
        )

    async def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        bearer: str,
    ) -> Answer:
        return await self._calls.send(
            method,
            f"{self._settings.api}{path}",
            headers={
                "Accept": "application/vnd.github+json",
                "Authorization": f"Bearer {bearer}",
                "Content-Type": "application/json",
                "X-GitHub-Api-Version": API_VERSION,
            },
            body=b"" if body is None else msgspec.json.encode(body),
            # A token that was made and whose answer was lost would live an hour.
            again=method != "POST",
        )


def asked_of(scopes: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Repositories and permissions that are these scopes and nothing more.

    Raises:
        Conflict: no single token is: permissions differ between repositories, or one permission
            has two levels.
    """
    by_repository: dict[str, set[str]] = {}
    for scope in scopes:
        permission, _, repository = scope.partition("@")
        by_repository.setdefault(repository, set()).add(permission)
    sets = list(by_repository.values())
    permissions = dict(sorted(entry.split(":") for entry in sets[0]))
    if any(other != sets[0] for other in sets) or len(permissions) != len(sets[0]):
        raise Conflict(
            f"No single token of {NAMED} grants just these scopes.",
            hint="Ask for the same permissions on every repository, or for several leases.",
        )
    return sorted(by_repository), permissions


def _foreign(body: Mapping[str, object], asked: Sequence[str]) -> bool:
    given = body.get("repositories")
    entries = cast("list[object]", given) if isinstance(given, list) else [None]
    names = [
        str(cast("JSONObject", entry).get("name")) if isinstance(entry, dict) else ""
        for entry in entries
    ]
    return not {name.lower() for name in names} <= {name.lower() for name in asked}


def _failed(doing: str, answer: Answer) -> Exception:
    limited = answer.headers.get("x-ratelimit-remaining") == "0" or "retry-after" in answer.headers
    status = 429 if answer.status == 403 and limited else answer.status
    return failure(
        NAMED, doing, status, hint="Check the App's id, its key, the clock, and what it may do."
    )


__all__ = ["SCOPE", "GitHubAppBackend", "GitHubSettings", "asked_of", "read_github"]
