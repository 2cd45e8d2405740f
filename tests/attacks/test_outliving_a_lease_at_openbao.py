"""Whoever holds a leased token of OpenBao makes further ones to stay: they end with it.

The server is the real one. Those that would not end take a policy that is not lent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from counterpart_kit import OpenBao, openbao
from credential_kit import Secrets, credential, lease

from midflight.adapters.clock import SystemClock
from midflight.adapters.credentials.openbao import OpenBaoBackend
from midflight.domain.errors import Misconfigured

pytestmark = [pytest.mark.anyio, pytest.mark.openbao]

MAKER = """
path "auth/token/create" { capabilities = ["update"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/lookup-self" { capabilities = ["read"] }
"""
FURTHER: tuple[dict[str, Any], ...] = ({}, {"ttl": "87600h"}, {"type": "batch", "ttl": "1h"})
STAYING: tuple[dict[str, Any], ...] = (
    {"period": "24h"},
    {"no_parent": True},
    {"policies": ["root"]},
)


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with openbao(tmp_path_factory.mktemp("bao")) as server:
        yield server


def backend(bao: OpenBao, scope: str) -> OpenBaoBackend:
    settings = {"url": bao.url, "kind": "token", "auth": {"method": "token", "token": "env:T"}}
    return OpenBaoBackend(
        credential("openbao", settings, scopes=(scope,)),
        references=Secrets({"env:T": bao.token}),
        clock=SystemClock(),
    )


async def test_tokens_that_a_leased_one_makes_end_with_it(bao: OpenBao) -> None:
    bao.call("POST", "sys/policies/acl/maker", {"policy": MAKER})
    made = backend(bao, "maker")
    one = lease(scopes=("maker",), ttl_s=60, max_ttl_s=120)
    issued = await made.issue(one)
    token = issued.secret.fields["token"]

    def ask(path: str, body: dict[str, Any]) -> Any:
        return bao.ask("POST", path, body, token=token)

    further = [ask("auth/token/create", body) for body in FURTHER]
    assert [answer.status_code for answer in further] == [200] * len(FURTHER)
    for body in STAYING:
        assert ask("auth/token/create", body).status_code == 400
    assert ask("auth/token/create-orphan", {}).status_code == 403
    renewed = ask("auth/token/renew-self", {"increment": "10h"}).json()["auth"]
    assert renewed["lease_duration"] <= 120
    tokens = [token, *(answer.json()["auth"]["client_token"] for answer in further)]
    await made.revoke(msgspec.structs.replace(one, handle=issued.handle))
    await made.close()
    for each in tokens:
        assert bao.ask("GET", "auth/token/lookup-self", token=each).status_code == 403


@pytest.mark.parametrize(
    "path",
    ["auth/token/create-orphan", "auth/token/*", "auth/token/roles/+", "sys/policies/acl/*", "*"],
)
async def test_a_policy_that_makes_tokens_which_stay_is_not_lent(bao: OpenBao, path: str) -> None:
    rule = f'path "{path}" {{ capabilities = ["create", "update"] }}'
    bao.call("POST", "sys/policies/acl/staying", {"policy": rule})
    made = backend(bao, "staying")
    with pytest.raises(Misconfigured, match="outlive it"):
        await made.issue(lease(scopes=("staying",)))
    assert await made.names() == []
    await made.close()
