"""What the OpenBao backend refuses by itself, and what it says when a server answers badly."""

from __future__ import annotations

import pytest
from credential_kit import MARKER, Secrets, credential, lease, server

from midflight.adapters.clock import SystemClock
from midflight.adapters.credentials.openbao import OpenBaoBackend
from midflight.domain.errors import Conflict, Forbidden, Misconfigured, Unavailable

pytestmark = pytest.mark.anyio


@pytest.fixture
def secrets() -> Secrets:
    return Secrets({"env:BAO_TOKEN": "s.token"})


async def test_a_scope_that_the_credential_lacks_is_refused_before_any_call(
    secrets: Secrets,
) -> None:
    with server(lambda _: (500, {})) as (url, asked):
        auth = {"method": "token", "token": "env:BAO_TOKEN"}
        source = credential(
            "openbao", {"url": url, "kind": "token", "auth": auth}, scopes=("reads",)
        )
        one = OpenBaoBackend(source, references=secrets, clock=SystemClock())
        for scopes in (("reads", "admin"), ("admin",), ()):
            with pytest.raises(Forbidden):
                await one.issue(lease(scopes=scopes))
        assert asked == []
        await one.close()


@pytest.mark.parametrize("status", [200, 400, 403, 404, 500, 503])
async def test_nothing_that_a_server_echoes_is_repeated(secrets: Secrets, status: int) -> None:
    echo = {"errors": [MARKER], "data": {"keys": [MARKER]}, "auth": {"accessor": MARKER}}
    secrets.table["env:BAO_TOKEN"] = MARKER
    with server(lambda _: (status, echo, {"X-Echo": MARKER})) as (url, _):
        auth = {"method": "token", "token": "env:BAO_TOKEN"}
        source = credential(
            "openbao", {"url": url, "kind": "token", "auth": auth}, scopes=("reads",)
        )
        one = OpenBaoBackend(source, references=secrets, clock=SystemClock())
        held = lease(scopes=("reads",), handle=f"{MARKER} {MARKER}")
        for doing in (
            one.check(),
            one.issue(lease(scopes=("reads",))),
            one.revoke(held),
            one.renew(held, expires_at=held.expires_at),
            one.names(),
        ):
            with pytest.raises((Unavailable, Misconfigured, Conflict)) as refused:
                await doing
            assert MARKER not in f"{refused.value!r} {refused.value} {refused.value.__context__}"
        assert MARKER not in repr(vars(one)) + repr(vars(one._session))
        await one.close()


async def test_settings_are_refused_with_all_their_problems() -> None:
    source = credential(
        "openbao",
        {
            "url": "http://bao.example:8200",
            "auth": {"method": "approle", "secret_id": MARKER},
            "polices": ["x"],
            "policies": ["root"],
            "path": "database/creds/{role}",
        },
        scopes=("a", "b"),
    )
    with pytest.raises(Misconfigured) as refused:
        OpenBaoBackend(source, references=Secrets({}), clock=SystemClock())
    text = str(refused.value)
    for words in ("url", "auth.role_id", "auth.secret_id", "polices", "root", "braces", "narrows"):
        assert words in text
    assert MARKER not in text
