"""Leases from AWS: sessions of a role (STS AssumeRole), narrowed by a session policy.

A session's policy holds the lease's scopes and a condition that ends it with the lease, since STS
itself gives no session of less than 900 seconds. A session cannot be deleted. With `revoke =
"deny-policy"` an inline policy of the role denies it everything; that takes AWS some seconds, so
it is still counted as ending at its expiry. Keys are best used by `sigv4.py`, in the gateway.

Above: the broker. Beside: `aws_policies.py` (what is granted), `aws_answers.py` (what comes back).
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from midflight.adapters.credentials.aws_answers import code_of, elements
from midflight.adapters.credentials.aws_policies import (
    SCOPE,
    denies,
    deny_name,
    deny_policy,
    no_longer_needed,
    session_policy,
)
from midflight.adapters.credentials.calls import LIMITS, CallLimits, Calls
from midflight.adapters.credentials.native_ends import UNKNOWN_S, native_end, native_handle
from midflight.adapters.credentials.reading import Reading, require_narrowing
from midflight.adapters.credentials.sigv4 import SigV4Signer
from midflight.domain.errors import Conflict, Malformed, Misconfigured, Unavailable
from midflight.domain.lease import Credential, Lease, Revocability, Secret
from midflight.domain.value import Value
from midflight.services.ports.clock import Clock
from midflight.services.ports.credential_backend import Issued
from midflight.services.ports.secret_reader import SecretReader

NAMED = "AWS"
MIN_SESSION_S = 900
"""Shortest life of a session (AssumeRole, `DurationSeconds`)."""
MAX_SESSION_S = 43_200

_PASSING = frozenset({"Throttling", "ThrottlingException", "ServiceUnavailable", "LimitExceeded"})
_REGION = r"[a-z]{2}(?:-[a-z]+)+-\d"


class AwsSettings(Value):
    """What `Credential.settings` says of a role at AWS.

    Attributes:
        role_arn: the role that is assumed.
        region: of STS, and of the service that requests are signed for.
        service: that requests are signed for (`s3`, `sqs`), if `sigv4` places the credential.
        access_key_id, secret_access_key, session_token: references to Midflight's own keys, which
            need `sts:AssumeRole` on the role (and, to revoke, `iam:PutRolePolicy`,
            `iam:ListRolePolicies`, `iam:DeleteRolePolicy`); the last may be empty.
        external_id: what the role's trust policy may ask for, or empty.
        revoke: `expiry`, or `deny-policy`.
        sts, iam: endpoints.
        ca: a PEM file of CAs that are trusted instead of the system's, or empty.
    """

    role_arn: str
    region: str
    access_key_id: str
    secret_access_key: str
    session_token: str = ""
    service: str = ""
    external_id: str = ""
    revoke: str = "expiry"
    sts: str = ""
    iam: str = ""
    ca: str = ""

    @property
    def role(self) -> str:
        """The role's name, without its path."""
        return self.role_arn.rpartition("/")[2]


def read_aws(credential: Credential) -> AwsSettings:
    """The settings, or `Misconfigured` with every problem."""
    with Reading.of(credential) as reading:
        region = reading.text("region", form=_REGION)
        settings = AwsSettings(
            role_arn=reading.text("role_arn", form=r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+"),
            region=region,
            service=reading.text("service", default="", form=r"[a-z0-9-]+"),
            access_key_id=reading.reference("access_key_id"),
            secret_access_key=reading.reference("secret_access_key"),
            session_token=reading.reference("session_token", required=False),
            external_id=reading.text("external_id", default="", form=r"[\w+=,.@:/-]{2,1224}"),
            revoke=reading.choice("revoke", {"expiry", "deny-policy"}, default="expiry"),
            sts=reading.url("sts", default=f"https://sts.{region}.amazonaws.com"),
            iam=reading.url("iam", default="https://iam.amazonaws.com"),
            ca=reading.text("ca", default=""),
        )
        reading.scopes(credential, form=SCOPE, like="s3:GetObject@arn:aws:s3:::reports/*")
    return settings


class AwsBackend:
    """`CredentialBackend` over one role."""

    def __init__(
        self,
        credential: Credential,
        *,
        references: SecretReader,
        clock: Clock,
        limits: CallLimits = LIMITS,
    ) -> None:
        """`Misconfigured` with every problem of the settings."""
        self._credential, self._references, self._clock = credential, references, clock
        self._settings = read_aws(credential)
        self._calls = Calls(named=NAMED, ca=self._settings.ca, limits=limits)
        self._refused: set[str] = set()

    @property
    def revocability(self) -> Revocability:
        """At its end; a deny policy only hastens that."""
        return Revocability.AT_EXPIRY

    @property
    def fields(self) -> frozenset[str] | None:
        """Keys of a session."""
        return frozenset({"access_key_id", "secret_access_key", "session_token"})

    async def check(self) -> str:
        """Ask whom Midflight's own keys belong to."""
        found = await self._sts({"Action": "GetCallerIdentity"})
        if not found.get("Arn"):
            raise Unavailable(f"{NAMED} does not say whose keys these are.")
        ends = "by deny policy" if self._settings.revoke == "deny-policy" else "by expiry alone"
        return f"{NAMED} knows Midflight's keys; sessions of {self._settings.role} end {ends}."

    async def issue(self, lease: Lease) -> Issued:
        """A session of the role, named as the lease is."""
        require_narrowing(self._credential, lease, some=True)
        settings, now = self._settings, self._clock.now()
        seconds = min(max(MIN_SESSION_S, math.ceil(lease.expires_at - now)), MAX_SESSION_S)
        asked = {
            "Action": "AssumeRole",
            "RoleArn": settings.role_arn,
            "RoleSessionName": lease.external,
            "DurationSeconds": str(seconds),
            "Policy": session_policy(lease.scopes, until=lease.expires_at),
        }
        if settings.external_id:
            asked["ExternalId"] = settings.external_id
        try:
            found = await self._sts(asked)
        except Misconfigured:
            self._refused.add(lease.id)  # so there is no session that could live on
            raise
        try:
            fields = {
                "access_key_id": found["AccessKeyId"][0],
                "secret_access_key": found["SecretAccessKey"][0],
                "session_token": found["SessionToken"][0],
            }
            ends = int(dt.datetime.fromisoformat(found["Expiration"][0]).timestamp())
        except (KeyError, ValueError):
            raise Unavailable(f"{NAMED} gave a session that cannot be read.") from None
        secret = Secret(fields=fields, expires_at=min(ends, lease.expires_at))
        return Issued(secret=secret, handle=native_handle(ends))

    async def renew(self, lease: Lease, *, expires_at: int) -> int:
        """`Conflict`: a session is not renewed."""
        raise Conflict(
            f"{NAMED} renews no session, so {lease.id} cannot last until {expires_at}.",
            hint="Ask for a new lease.",
        )

    async def revoke(self, lease: Lease) -> int | None:
        """Deny the session everything, if the settings say so. It lives on, for 15 minutes or more.

        What it may do ends with the lease by its policy; the session itself does not.
        """
        if lease.id in self._refused:
            self._refused.discard(lease.id)
            return None
        if self._settings.revoke == "deny-policy":
            await self._deny(lease)
        least = lease.created_at + MIN_SESSION_S + UNKNOWN_S
        return native_end(lease, unknown=max(lease.expires_at + UNKNOWN_S, least))

    async def _deny(self, lease: Lease) -> None:
        now = self._clock.now()
        # It began before now, so it has ended by then.
        until = math.ceil(now) + max(MIN_SESSION_S, lease.max_expires_at - lease.created_at)
        role = {"RoleName": self._settings.role}
        present = (await self._iam({"Action": "ListRolePolicies", **role})).get("member", [])
        if not any(denies(name, lease.external) for name in present):
            await self._iam(
                {
                    "Action": "PutRolePolicy",
                    **role,
                    "PolicyName": deny_name(lease.external, until=until),
                    "PolicyDocument": deny_policy(lease.external, until=math.ceil(now) + 1),
                }
            )
        for name in present:
            if no_longer_needed(name, now=now):
                await self._iam({"Action": "DeleteRolePolicy", **role, "PolicyName": name})

    async def names(self) -> Sequence[str]:
        """Empty: STS lists no sessions. They end by themselves."""
        return ()

    async def discard(self, name: str) -> None:
        """Nothing to do, since nothing is listed."""

    async def close(self) -> None:
        """Close the connections."""
        await self._calls.close()

    async def _sts(self, asked: Mapping[str, str]) -> dict[str, list[str]]:
        scope = f"{self._settings.region}/sts"
        return await self._query(self._settings.sts, scope, {**asked, "Version": "2011-06-15"})

    async def _iam(self, asked: Mapping[str, str]) -> dict[str, list[str]]:
        # IAM is one service in one place.
        return await self._query(
            self._settings.iam, "us-east-1/iam", {**asked, "Version": "2010-05-08"}
        )

    async def _query(
        self, endpoint: str, scope: str, asked: Mapping[str, str]
    ) -> dict[str, list[str]]:
        url, body = f"{endpoint}/", urlencode(asked).encode("ascii")
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        signer = await self._signer(scope)
        signed = signer.sign("POST", url, list(headers.items()), body)
        # Everything that is asked here may be asked twice: a second session is in nobody's hands.
        answer = await self._calls.send(
            "POST", url, headers={**headers, **dict(signed)}, body=body, again=True
        )
        try:
            found = elements(answer.body)
        except Malformed:
            found = {}
        if answer.status == 200 and found:
            return found
        code = code_of(found)
        message = f"{NAMED} answers {answer.status} {code}".rstrip() + f" to {asked['Action']}."
        if answer.status >= 500 or answer.status in {200, 429} or code in _PASSING:
            raise Unavailable(message)
        raise Misconfigured(
            message, hint="Check Midflight's own keys, what they may do, the role and the clock."
        )

    async def _signer(self, scope: str) -> SigV4Signer:
        settings, read = self._settings, self._references.read
        return SigV4Signer(
            access_key_id=await read(settings.access_key_id),
            secret_access_key=await read(settings.secret_access_key),
            session_token=await read(settings.session_token) if settings.session_token else "",
            scope=scope,
        )


__all__ = ["MIN_SESSION_S", "AwsBackend", "AwsSettings", "read_aws"]
