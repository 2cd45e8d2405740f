"""Midflight's own standing at an OpenBao or Vault server: its settings, its token, its calls.

It authenticates by `jwt`, with a token that Midflight signs for each login and nothing that is kept
anywhere; by `approle`; or with a token or JWT that is referred to. Above: `openbao.py`, which
leases. Below: `calls.py`.
"""

from __future__ import annotations

import re

import msgspec

from midflight.adapters.credentials.calls import Answer, Calls, failure, member, texts
from midflight.adapters.credentials.client_keys import OwnToken
from midflight.adapters.credentials.reading import Reading
from midflight.domain.errors import Misconfigured, Unavailable
from midflight.domain.lease import Credential
from midflight.domain.value import Discreet, JSONObject, Value
from midflight.services.ports.clock import Clock
from midflight.services.ports.secret_reader import SecretReader

NAMED = "OpenBao"
PATH = r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_{}-][A-Za-z0-9_.{}-]*)*"
SEGMENT = r"[A-Za-z0-9_-][A-Za-z0-9_.-]*"
FOREVER_S = 2**31
"""Life of a token that has no end, in seconds."""

_TOKEN = re.compile(r"[\x21-\x7e]{1,4096}\Z")


class OpenBaoSettings(Value):
    """What `Credential.settings` says of an OpenBao server. Secrets are references.

    Attributes:
        url: of the server, without `/v1`.
        ca: a PEM file of CAs that are trusted instead of the system's, or empty.
        namespace: of Vault Enterprise or OpenBao, or empty.
        kind: `engine` (a dynamic secret is read) or `token` (a token is the credential).
        path: of the engine's role, such as `database/creds/reader`; `{scope}` in it stands for
            the one scope of the lease.
        policies: of the token that a dynamic secret is read with.
        token_role: the token role (`auth/token/roles/NAME`) that leases' tokens are made by. With
            an orphan role, leases outlive Midflight's own token.
        method: how Midflight authenticates: `token`, `approle` or `jwt`.
        mount: where that method is mounted.
        role: `role_id` of approle, `role` of jwt.
        secret: reference to the token, the `secret_id` or the JWT; empty where Midflight signs one.
        audience: what a JWT that Midflight signs is for; the `bound_audiences` of the role.
    """

    url: str
    kind: str
    method: str
    secret: str
    ca: str = ""
    namespace: str = ""
    path: str = ""
    policies: tuple[str, ...] = ()
    token_role: str = ""
    mount: str = ""
    role: str = ""
    audience: str = ""


def read_openbao(credential: Credential, *, own: bool) -> OpenBaoSettings:
    """The settings, or `Misconfigured` with every problem.

    Args:
        credential: whose settings they are.
        own: Midflight can sign a JWT of its own, so none needs to be referred to.
    """
    with Reading.of(credential) as reading:
        auth = reading.section("auth")
        method = auth.choice("method", {"token", "approle", "jwt"})
        roles = {"approle": "role_id", "jwt": "role"}
        secrets = {"token": "token", "approle": "secret_id", "jwt": "jwt"}
        role = auth.text(roles[method]) if method in roles else ""
        url = reading.url("url")
        own = own and method == "jwt" and not auth.has("jwt")
        settings = OpenBaoSettings(
            url=url,
            ca=reading.text("ca", default=""),
            namespace=reading.text("namespace", default="", form=PATH),
            kind=reading.choice("kind", {"engine", "token"}, default="engine"),
            path=reading.text("path", default="", form=PATH),
            policies=reading.texts("policies", form=r"[a-zA-Z0-9_./-]+"),
            token_role=reading.text("token_role", default="", form=r"[A-Za-z0-9_.-]+"),
            method=method,
            mount=auth.text("mount", default=method, form=PATH),
            role=role,
            secret=auth.reference(secrets[method]) if method and not own else "",
            audience=auth.text("audience", default=url, form=r"[\x21-\x7e]+") if own else "",
        )
        if settings.kind == "token":
            _check_token(settings, credential, reading)
        elif settings.kind == "engine":
            _check_engine(settings, credential, reading)
    return settings


def _check_token(settings: OpenBaoSettings, credential: Credential, reading: Reading) -> None:
    if settings.path or settings.policies:
        reading.problem("path and policies", "are for kind = engine: scopes are the policies")
    if not credential.scopes:
        reading.problem("scopes", "are missing: they are the policies that a token may have")
    if "root" in credential.scopes:
        reading.problem("scopes", "hold root, which may do anything")


def _check_engine(settings: OpenBaoSettings, credential: Credential, reading: Reading) -> None:
    if not settings.path:
        reading.problem("path", "is missing")
    if not settings.policies:
        reading.problem("policies", "are missing: a token that may read path, and no more")
    if "root" in settings.policies:
        reading.problem("policies", "hold root, which may do anything")
    if "{" in settings.path.replace("{scope}", "") or "}" in settings.path.replace("{scope}", ""):
        reading.problem("path", "holds braces other than {scope}")
    foreign = [scope for scope in credential.scopes if not re.fullmatch(SEGMENT, scope)]
    if "{scope}" in settings.path and (foreign or not credential.scopes):
        reading.problem("scopes", "are not names of roles, which take the place of {scope} in path")
    if "{scope}" not in settings.path and len(credential.scopes) > 1:
        reading.problem("path", "names one role, so more than one scope narrows nothing")


class Standing(Discreet):
    """Midflight's own token, until when it lives (monotonic seconds), and when to take another."""

    shown = ("ends", "fresh_until")

    token: str
    ends: float
    fresh_until: float


class OpenBaoSession:
    """Authenticated calls. Takes a new token before its own grows old, and when it is refused."""

    def __init__(
        self,
        settings: OpenBaoSettings,
        *,
        calls: Calls,
        references: SecretReader,
        clock: Clock,
        own_token: OwnToken | None = None,
    ) -> None:
        self._settings, self._calls, self._own_token = settings, calls, own_token
        self._references, self._clock = references, clock
        self._standing: Standing | None = None

    async def ask(
        self, method: str, path: str, body: JSONObject | None = None, *, again: bool = False
    ) -> Answer:
        """One call below `/v1/` with Midflight's token, taken anew if it is no longer valid."""
        standing = await self.standing()
        answer = await self.call(method, path, body, token=standing.token, again=again)
        if answer.status == 403 and not await self._stands(standing.token):
            self._standing = None
            standing = await self.standing()
            answer = await self.call(method, path, body, token=standing.token, again=again)
        return answer

    async def call(
        self,
        method: str,
        path: str,
        body: JSONObject | None = None,
        *,
        token: str = "",
        again: bool = False,
    ) -> Answer:
        """One call below `/v1/` with a given token, or none."""
        headers = {"Content-Type": "application/json"}
        if token:
            headers["X-Vault-Token"] = token
        if self._settings.namespace:
            headers["X-Vault-Namespace"] = self._settings.namespace
        return await self._calls.send(
            method,
            f"{self._settings.url}/v1/{path}",
            headers=headers,
            body=b"" if body is None else msgspec.json.encode(body),
            again=again,
        )

    async def standing(self, *, for_s: float = 0.0) -> Standing:
        """Midflight's own token, with a life of at least `for_s` seconds.

        Raises:
            Misconfigured: it is refused, or lives too short for that.
        """
        now = self._clock.monotonic()
        held = self._standing
        if held is None or now >= held.fresh_until or held.ends < now + for_s:
            held = self._standing = await self._taken()
        if held.ends < now + for_s:
            raise Misconfigured(
                f"Midflight's own {NAMED} token ends before a lease would, and takes it along.",
                hint="Give its role a longer token_ttl, or make leases by an orphan token_role.",
            )
        return held

    async def _stands(self, token: str) -> bool:
        # A token that is gone and a path that is not allowed are refused in the same words.
        answer = await self.call("GET", "auth/token/lookup-self", token=token, again=True)
        return answer.status == 200

    async def _taken(self) -> Standing:
        settings = self._settings
        secret = await self._shown()
        if settings.method == "token":
            return await self._given(secret)
        names = {"approle": ("role_id", "secret_id"), "jwt": ("role", "jwt")}[settings.method]
        answer = await self.call(
            "POST",
            f"auth/{settings.mount}/login",
            dict(zip(names, (settings.role, secret), strict=True)),
            again=True,
        )
        token = answer.text("auth", "client_token")
        if answer.status != 200 or not token:
            raise failure(NAMED, f"a login by {settings.method}", answer.status)
        return self._lasting(token, answer.json()["auth"].get("lease_duration"))

    async def _shown(self) -> str:
        """What Midflight shows: a JWT that it signs for this login, or what is referred to."""
        reference = self._settings.secret
        if not reference and self._own_token is not None:
            return await self._own_token(self._settings.audience)
        secret = await self._references.read(reference)
        if _TOKEN.match(secret) is None:
            raise Misconfigured(f"{reference} is not one line of printable characters.")
        return secret

    async def _given(self, token: str) -> Standing:
        answer = await self.call("GET", "auth/token/lookup-self", token=token, again=True)
        if answer.status != 200:
            raise failure(NAMED, f"the token of {self._settings.secret}", answer.status)
        data = member(answer.json(), "data")
        if data.get("renewable") is True:
            renewed = await self.call("POST", "auth/token/renew-self", {}, token=token, again=True)
            if renewed.status == 200:
                return self._lasting(token, member(renewed.json(), "auth").get("lease_duration"))
        return self._lasting(token, data.get("ttl"))

    def _lasting(self, token: str, seconds: object) -> Standing:
        if not isinstance(seconds, int) or seconds < 0:
            raise Unavailable(f"{NAMED} does not say how long Midflight's token lives.")
        life, now = seconds or FOREVER_S, self._clock.monotonic()
        return Standing(token=token, ends=now + life, fresh_until=now + life / 2)

    async def close(self) -> None:
        """Close the connections. The token is left to end: revoking it would end its leases."""
        await self._calls.close()


def says(answer: Answer, words: str) -> bool:
    """Whether an answer's errors hold these words."""
    return words in _errors(answer)


def _errors(answer: Answer) -> str:
    return " ".join(texts(answer.json(), "errors"))


__all__ = [
    "NAMED",
    "OpenBaoSession",
    "OpenBaoSettings",
    "Standing",
    "read_openbao",
    "says",
]
