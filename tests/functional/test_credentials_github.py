"""The GitHub backend against a fake of their API, written from their documentation.

The fake checks what GitHub says it checks: the App's JWT (RS256, at most ten minutes, issuer), the
shape of the request, and that a token is revoked by whoever shows it. It is no proof of GitHub.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Any

import jwt
import msgspec
import pytest
from credential_kit import MARKER, Asked, Secrets, credential, lease, server
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from midflight.adapters.clock import SystemClock
from midflight.adapters.credentials.github_app import GitHubAppBackend, asked_of
from midflight.domain.errors import Conflict, Forbidden, Misconfigured, Unavailable
from midflight.domain.lease import Revocability

pytestmark = pytest.mark.anyio

KEY = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
SCOPES = ("contents:read@docs", "issues:write@docs", "contents:read@site", "contents:write@docs")
HOUR = dt.timedelta(hours=1)


class GitHub:
    """Two calls of their API and one more, and the tokens that are in force."""

    def __init__(self) -> None:
        self.live: set[str] = set()
        self.more: dict[str, Any] = {}
        self.made = 0
        self.refuses = False

    def __call__(self, one: Asked) -> tuple[int, Any]:
        bearer = one.headers.get("authorization", "").removeprefix("Bearer ")
        assert one.headers["accept"] == "application/vnd.github+json"
        assert one.headers["x-github-api-version"] == "2022-11-28"
        if (one.method, one.path) == ("DELETE", "/installation/token"):
            if bearer not in self.live:
                return 401, {"message": "Bad credentials"}
            self.live.discard(bearer)
            return 204, b""
        try:
            claims = jwt.decode(
                bearer, KEY.public_key(), algorithms=["RS256"], issuer="12345", leeway=0
            )
        except jwt.PyJWTError:
            return 401, {"message": "A JSON web token could not be decoded"}
        if claims["exp"] - claims["iat"] > 600:
            return 401, {"message": "'Expiration time' claim is too far in the future"}
        if one.path == "/app/installations/77":
            return 200, {"id": 77, "suspended_at": None}
        assert (one.method, one.path) == ("POST", "/app/installations/77/access_tokens")
        body = json.loads(one.body)
        assert body.keys() == {"repositories", "permissions"}
        assert set(body["permissions"].values()) <= {"read", "write", "admin"}
        self.made += 1
        token = f"ghs_{self.made:036d}"
        self.live.add(token)
        answer = {
            "token": token,
            "expires_at": (dt.datetime.now(dt.UTC) + HOUR).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "permissions": {**body["permissions"], "metadata": "read"},
            "repository_selection": "selected",
            "repositories": [{"id": 1, "name": name} for name in body["repositories"]],
        }
        if self.refuses:
            self.live.discard(token)
            answer = {"message": "There is at least one repository that does not exist"}
        return 422 if self.refuses else 201, {**answer, **self.more}


@asynccontextmanager
async def installation(answer: Callable[[Asked], Any], *, pem: str = PEM) -> Any:
    with server(answer) as (url, asked):
        settings = {
            "app_id": "12345",
            "installation_id": "77",
            "private_key": "file:app.pem",
            "api": url,
        }
        one = GitHubAppBackend(
            credential("github_app", settings, scopes=SCOPES),
            references=Secrets({"file:app.pem": pem}),
            clock=SystemClock(),
        )
        try:
            yield one, asked
        finally:
            await one.close()


async def test_a_token_is_for_the_scopes_of_the_lease_and_is_given_back() -> None:
    github = GitHub()
    async with installation(github) as (one, asked):
        assert "one hour" in await one.check()
        wanted = lease(scopes=("issues:write@docs", "contents:read@docs"))
        issued = await one.issue(wanted)
        token = issued.secret.fields["token"]
        sent = json.loads(asked[-1].body)
        assert sent == {
            "repositories": ["docs"],
            "permissions": {"contents": "read", "issues": "write"},
        }
        assert issued.secret.expires_at is not None
        assert github.live == {token}
        assert token not in repr(issued) + issued.handle + repr(vars(one)["_calls"])
        await one.revoke(wanted)
        assert github.live == set()
        await one.revoke(wanted)
        assert one.revocability is Revocability.AT_EXPIRY
        with pytest.raises(Conflict):
            await one.renew(wanted, expires_at=wanted.expires_at)


async def test_a_token_that_nobody_holds_any_more_lives_for_its_hour() -> None:
    github = GitHub()
    async with installation(github) as (one, _):
        wanted = lease(scopes=("contents:read@docs",))
        issued = await one.issue(wanted)
        active = msgspec.structs.replace(wanted, handle=issued.handle)
        async with installation(github) as (after, _):
            # As after a crash: it cannot be given back, so it is not said to be gone.
            assert await after.revoke(active) == issued.secret.expires_at
            assert (await after.revoke(wanted) or 0) >= wanted.created_at + 3_600
        assert github.live == {issued.secret.fields["token"]}
        assert await one.revoke(active) is None
        assert github.live == set()


async def test_what_github_refused_to_make_is_not_waited_for() -> None:
    github = GitHub()
    github.more = {"permissions": {"contents": "write"}}
    async with installation(github) as (one, _):
        wanted = lease(scopes=("contents:read@docs",))
        with pytest.raises(Misconfigured):
            await one.issue(wanted)
        assert await one.revoke(wanted) is None
        github.refuses = True
        with pytest.raises(Misconfigured):
            await one.issue(wanted)
        assert await one.revoke(wanted) is None


async def test_issuing_again_gives_the_first_token_back() -> None:
    github = GitHub()
    async with installation(github) as (one, _):
        wanted = lease(scopes=("contents:read@docs",))
        await one.issue(wanted)
        second = await one.issue(wanted)
        assert github.live == {second.secret.fields["token"]}


@pytest.mark.parametrize(
    "more",
    [
        {"permissions": {"contents": "write"}},
        {"permissions": {"contents": "read", "administration": "write"}},
        {"repository_selection": "all"},
        {"repositories": [{"name": "docs"}, {"name": "secrets"}]},
        {"repositories": None},
        {"expires_at": "soon"},
    ],
)
async def test_a_token_that_is_wider_than_asked_for_is_given_back(more: dict[str, Any]) -> None:
    github = GitHub()
    github.more = more
    async with installation(github) as (one, _):
        with pytest.raises((Misconfigured, Unavailable)):
            await one.issue(lease(scopes=("contents:read@docs",)))
    assert github.made == 1
    assert github.live == set()


async def test_scopes_that_no_token_can_be_are_refused_before_any_call() -> None:
    async with installation(GitHub()) as (one, asked):
        for scopes in (("administration:write@docs",), ()):
            with pytest.raises(Forbidden):
                await one.issue(lease(scopes=scopes))
        for scopes in (
            ("contents:read@docs", "issues:write@docs", "contents:read@site"),
            ("contents:read@docs", "contents:write@docs"),
        ):
            with pytest.raises(Conflict):
                await one.issue(lease(scopes=scopes))
        assert asked == []


NAMES = st.sampled_from(["contents", "issues", "checks"])
ENTRIES = st.tuples(NAMES, st.sampled_from(["read", "write"]), st.sampled_from(["a", "b", "c"]))


@given(st.sets(ENTRIES, min_size=1).map(lambda s: sorted(f"{p}:{v}@{r}" for p, v, r in s)))
def test_what_is_asked_for_is_exactly_the_scopes(scopes: list[str]) -> None:
    try:
        repositories, permissions = asked_of(scopes)
    except Conflict:
        return
    granted = {f"{p}:{v}@{r}" for p, v in permissions.items() for r in repositories}
    assert granted == set(scopes)


@pytest.mark.parametrize("status", [201, 401, 403, 422, 500])
async def test_nothing_that_a_server_echoes_is_repeated(status: int) -> None:
    echo = {"message": MARKER, "token": "", "permissions": {"contents": MARKER}}
    async with installation(lambda _: (status, echo)) as (one, _):
        for doing in (one.check(), one.issue(lease(scopes=("contents:read@docs",)))):
            with pytest.raises((Misconfigured, Unavailable)) as refused:
                await doing
            assert MARKER not in f"{refused.value!r} {refused.value} {refused.value.__context__}"


async def test_a_rate_limit_is_waited_for_and_a_wrong_key_is_not() -> None:
    async with installation(lambda _: (403, {}, {"Retry-After": "60"})) as (one, _):
        with pytest.raises(Unavailable):
            await one.issue(lease(scopes=("contents:read@docs",)))
    async with installation(GitHub(), pem=MARKER) as (one, asked):
        with pytest.raises(Misconfigured) as refused:
            await one.issue(lease(scopes=("contents:read@docs",)))
        assert MARKER not in f"{refused.value} {refused.value.__context__}"
        assert asked == []


def test_settings_are_refused_with_all_their_problems() -> None:
    settings = {"app_id": "", "installation_id": "x", "private_key": MARKER, "api": "ftp://x"}
    with pytest.raises(Misconfigured) as refused:
        GitHubAppBackend(
            credential("github_app", settings, scopes=("contents:read",)),
            references=Secrets({}),
            clock=SystemClock(),
        )
    for words in ("app_id", "installation_id", "private_key", "api", "contents:read"):
        assert words in str(refused.value)
    assert MARKER not in str(refused.value)
