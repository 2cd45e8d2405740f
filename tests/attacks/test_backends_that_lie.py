"""What makes credentials says what it likes: a clean refusal, nothing shown, the lease ends.

Members of wrong types, impossible times, a secret where a name belongs, a driver that breaks.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any

import pytest
from credential_kit import MARKER, Asked, Secrets, lease, server
from credential_kit import credential as openbao_credential
from lease_kit import LeasePlane

from midflight.adapters.clock import SystemClock
from midflight.adapters.credentials.calls import CallLimits
from midflight.adapters.credentials.memory import MemoryBackend
from midflight.adapters.credentials.openbao import OpenBaoBackend
from midflight.domain.errors import MidflightError, Misconfigured, Unavailable
from midflight.domain.lease import Lease, LeaseState, Secret
from midflight.services.ports.credential_backend import Issued

pytestmark = pytest.mark.anyio


# The broker


@pytest.fixture
async def plane() -> AsyncIterator[LeasePlane]:
    made = LeasePlane()
    yield made
    await made.close()


@pytest.mark.parametrize(
    "error",
    [
        TypeError(f"no {MARKER}"),
        OverflowError(MARKER),
        RuntimeError(MARKER),
        UnicodeEncodeError("ascii", MARKER, 0, 1, MARKER),
    ],
)
async def test_a_backend_that_breaks_makes_a_refusal_and_a_lease_that_ends(
    plane: LeasePlane, error: Exception
) -> None:
    run = await plane.begin()

    def broken(verb: str, name: str) -> None:
        if verb == "issue":
            raise error

    plane.server.after = broken
    with pytest.raises(Unavailable, match="failed") as refused:
        await plane.lease(run)
    assert MARKER not in str(refused.value)
    assert refused.value.__suppress_context__
    await plane.settle()
    assert plane.server.accounts == {}
    (left,) = await plane.store.list_leases()
    assert left.state is LeaseState.REVOKED
    assert MARKER not in repr(await plane.records())


async def test_a_name_that_is_the_secret_is_stored_nowhere(
    plane: LeasePlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await plane.begin()
    whole = MemoryBackend.issue

    async def issue(self: MemoryBackend, one: Lease) -> Issued:
        issued = await whole(self, one)
        fields = {**issued.secret.fields, "token": MARKER}
        secret = Secret(fields=fields, expires_at=issued.secret.expires_at)
        return Issued(secret=secret, handle=f"lease/{MARKER}")

    monkeypatch.setattr(MemoryBackend, "issue", issue)
    with pytest.raises(Misconfigured, match="by its secret"):
        await plane.lease(run)
    await plane.settle()
    (left,) = await plane.store.list_leases()
    assert (left.state, left.handle) == (LeaseState.REVOKED, "")
    assert MARKER not in repr(await plane.records())
    assert plane.server.accounts == {}


@pytest.mark.parametrize("ends", [-(2**40), 0, 2**40])
async def test_an_end_that_it_makes_up_makes_no_lease_longer(plane: LeasePlane, ends: int) -> None:
    run = await plane.begin()
    whole = MemoryBackend.issue

    async def issue(self: MemoryBackend, one: Lease) -> Issued:
        issued = await whole(self, one)
        return Issued(secret=Secret(fields=issued.secret.fields, expires_at=ends))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryBackend, "issue", issue)
        held = await plane.lease(run)
    assert held.lease.expires_at <= held.lease.created_at + 60
    if ends <= 0:
        with pytest.raises(MidflightError):
            plane.broker.check(held)
    plane.broker.done(held)
    plane.clock.advance(61)
    await plane.broker.sweep()
    assert plane.server.accounts == {}


# OpenBao

ANSWERS: dict[str, Any] = {
    "auth/token/lookup-self": {"data": {"renewable": True, "ttl": 3_600}},
    "auth/token/renew-self": {"auth": {"client_token": "own", "lease_duration": 3_600}},
    "auth/token/create": {
        "auth": {
            "client_token": "tok-tok",
            "accessor": "acc",
            "lease_duration": 300,
            "policies": ["p"],
            "token_type": "service",
        }
    },
    "auth/token/accessors": {"data": {"keys": ["acc1"]}},
    "auth/token/lookup-accessor": {"data": {"meta": {"midflight_lease": "midflight-x"}}},
    "auth/token/revoke-accessor": {},
    "auth/token/renew-accessor": {"auth": {"lease_duration": 300}},
    "sys/leases/revoke": {},
    "sys/leases/renew": {"lease_duration": 300},
    "sys/capabilities-self": {"data": {"auth/token/create": ["update"]}},
    "database/creds/ro": {
        "lease_id": "database/creds/ro/abc",
        "lease_duration": 300,
        "data": {"username": "u", "password": "pw-pw-pw"},
    },
}
LIES: tuple[Any, ...] = (
    None, -1, 2**62, MARKER, "é", "a\r\nb: c", [[MARKER]],
)  # fmt: skip


def places(value: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield place
    if isinstance(value, dict):
        for key, each in value.items():
            yield from places(each, (*place, key))


def lied(value: Any, place: tuple[str, ...], lie: Any) -> Any:
    if not place:
        return lie
    changed = copy.deepcopy(value)
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = lie
    return changed


def asking(made: OpenBaoBackend, path: str) -> list[Awaitable[object]]:
    """What asks for this path."""
    held = lease(handle="acc database/creds/ro/abc")
    if path in {"auth/token/create", "database/creds/ro"}:
        return [made.issue(lease())]
    if path.startswith("auth/token/re") and path.endswith("accessor"):
        return [made.renew(held, expires_at=held.expires_at + 9), made.revoke(held)]
    if path.startswith("sys/leases/"):
        return [made.renew(held, expires_at=held.expires_at + 9), made.revoke(held)]
    if "accessor" in path:
        return [made.names(), made.discard("midflight-x")]
    return [made.check()]


@pytest.mark.parametrize("path", ANSWERS)
async def test_openbao_that_lies_in_any_member_is_refused_and_not_repeated(path: str) -> None:
    answers: dict[str, Any] = {}

    def answer(asked: Asked) -> Any:
        where = asked.path.removeprefix("/v1/").partition("?")[0]
        return 200, answers.get(where, ANSWERS.get(where, {}))

    with server(answer) as (url, asked):
        settings = {
            "url": url,
            "path": "database/creds/ro",
            "policies": ["p"],
            "auth": {"method": "token", "token": "env:T"},
        }
        made = OpenBaoBackend(
            openbao_credential("openbao", settings),
            references=Secrets({"env:T": "own-token"}),
            clock=SystemClock(),
            limits=CallLimits(tries=1, total_s=3),
        )
        for place in places(ANSWERS[path]):
            for lie in LIES:
                answers[path] = lied(ANSWERS[path], place, lie)
                if path.endswith("-self"):
                    made._session._standing = None
                for verb in asking(made, path):
                    said: object = None
                    try:
                        said = await verb
                    except MidflightError as refused:
                        said = str(refused)
                    if isinstance(said, str):
                        assert MARKER not in said, (place, lie)
        assert any(path in one.path for one in asked)
        await made.close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_takes_no_token_elsewhere(status: int) -> None:
    with (
        server(lambda _: (200, {"data": {"ttl": 3_600}})) as (elsewhere, stolen),
        server(lambda asked: (status, {}, {"Location": f"{elsewhere}{asked.path}"})) as (
            url,
            asked,
        ),
    ):
        settings = {
            "url": url,
            "path": "database/creds/ro",
            "policies": ["p"],
            "auth": {"method": "token", "token": "env:T"},
        }
        made = OpenBaoBackend(
            openbao_credential("openbao", settings),
            references=Secrets({"env:T": "own-token"}),
            clock=SystemClock(),
            limits=CallLimits(tries=1, total_s=3),
        )
        for verb in (made.check(), made.issue(lease()), made.names()):
            with pytest.raises(MidflightError):
                await verb
        await made.close()
    assert asked
    assert stolen == []
