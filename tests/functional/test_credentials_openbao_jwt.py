"""Midflight proves itself to a real OpenBao with tokens that it signs, and holds no secret for it.

OpenBao verifies them by the keys that the gateway publishes. What is written into OpenBao is what
docs/credentials.md says.
"""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import AsyncIterator, Generator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from counterpart_kit import OpenBao, openbao
from credential_kit import MARKER, Secrets, credential, lease
from lease_kit import READ
from oauth_kit import OAuthServer, oauth_server

from gateways import AGENT, OPERATOR
from midflight.adapters.clock import SystemClock
from midflight.adapters.credentials.client_keys import own_token
from midflight.adapters.credentials.openbao import OpenBaoBackend
from midflight.adapters.credentials.references import References
from midflight.adapters.keys.ring_signer import RingSigner
from midflight.domain.errors import Misconfigured
from midflight.domain.lease import LeaseState
from midflight.services.broker import Held
from midflight.services.ports.keys import Purpose

pytestmark = [pytest.mark.anyio, pytest.mark.openbao]

DOCS = (Path(__file__).parents[2] / "docs" / "credentials.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^bao write (.*)$", DOCS, re.MULTILINE)
MIDFLIGHT = re.findall(r"^```hcl\n(.*?)^```$", DOCS, re.MULTILINE | re.DOTALL)[0]
READS = 'path "kv/data/static" { capabilities = ["read"] }'
SHORT_S = 1


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Generator[OpenBao]:
    with openbao(tmp_path_factory.mktemp("bao")) as running:
        for name, rules in (("reports", READS), ("midflight", MIDFLIGHT)):
            running.call("PUT", f"sys/policies/acl/{name}", {"policy": rules})
        running.call("POST", "sys/mounts/kv", {"type": "kv", "options": {"version": "2"}})
        running.call("POST", "kv/data/static", {"data": {"a": "b"}})
        yield running


@pytest.fixture
async def server(tmp_path: Path, bao: OpenBao) -> AsyncIterator[OAuthServer]:
    """A plane whose published keys an own mount of `auth/jwt` verifies by."""
    async with oauth_server(tmp_path) as one:
        bao.ask("DELETE", "sys/auth/jwt")
        bao.call("POST", "sys/auth/jwt", {"type": "jwt"})
        # Asked in threads: OpenBao looks at the keys, and it is this loop that serves them.
        for path, settings in commands(bao, one).items():
            await asyncio.to_thread(bao.call, "POST", path, settings)
        await asyncio.to_thread(trust, bao, one, "short", token_ttl=f"{SHORT_S}s")
        yield one


def commands(bao: OpenBao, server: OAuthServer) -> dict[str, dict[str, str]]:
    """What docs/credentials.md has an operator write, by path, for these two servers."""
    found: dict[str, dict[str, str]] = {}
    for line in COMMANDS:
        here = line.replace("https://midflight.example.org", server.issuer)
        here = here.replace("https://bao.example.org:8200", bao.url)
        path, *pairs = shlex.split(here)
        found[path] = dict(pair.split("=", 1) for pair in pairs)
    assert found.keys() == {"auth/jwt/config", "auth/jwt/role/midflight", "auth/token/roles/leases"}
    return found


def trust(bao: OpenBao, server: OAuthServer, name: str, **other: Any) -> None:
    """A role like the one of the page, but for some settings."""
    role = commands(bao, server)["auth/jwt/role/midflight"]
    bao.call("POST", f"auth/jwt/role/{name}", {**role, **other})


def settings(bao: OpenBao, **auth: Any) -> dict[str, Any]:
    login = {"method": "jwt", "role": "midflight", **auth}
    return {"url": bao.url, "kind": "token", "token_role": "leases", "auth": login}


def backend(server: OAuthServer, bao: OpenBao, **auth: Any) -> OpenBaoBackend:
    """As the plane makes one, on its own keys; there is no reference that could be read."""
    signer = RingSigner(server.plane.keys, Purpose.CLIENT)
    return OpenBaoBackend(
        credential("openbao", settings(bao, **auth), scopes=("reports",)),
        references=Secrets({}),
        clock=SystemClock(),
        own_token=own_token(signer, issuer=server.issuer, clock=SystemClock()),
    )


async def test_a_plane_leases_from_openbao_and_holds_no_secret_of_it(
    server: OAuthServer, bao: OpenBao, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane = server.plane
    made = credential("openbao", settings(bao), scopes=("reports",), name="vault")
    await plane.credentials.put(made, author=OPERATOR)
    # No secret is read from anywhere, and no setting is where one could stand.
    monkeypatch.setattr(References, "read", _never)
    assert made.settings["auth"] == {"method": "jwt", "role": "midflight"}
    said = await plane.credentials.backend("vault").check()
    assert "takes it back at once" in said
    workload = await plane.inventory.get(AGENT)
    run = await plane.runs.open_run(workload=workload, intent="Read.", author=OPERATOR)
    live = plane.runs.live(run.id)
    assert live is not None
    held = await plane.broker.lease_for(live, workload, "vault", upstream="tools", traits=READ)
    assert isinstance(held, Held), held
    token = held.secret.fields["token"]
    assert bao.ask("GET", "kv/data/static", token=token).status_code == 200
    await plane.runs.close_run(run.id, author=OPERATOR)
    await plane.broker.settle()
    assert bao.ask("GET", "kv/data/static", token=token).status_code == 403
    stored = await plane.broker.find(held.lease.id)
    assert stored is not None
    assert stored.state is LeaseState.REVOKED


async def test_a_lease_outlives_the_login_and_is_ended_by_the_next_one(
    server: OAuthServer, bao: OpenBao
) -> None:
    one = backend(server, bao, role="short")
    asked = lease(scopes=("reports",))
    issued = await one.issue(asked)
    standing = one._session._standing
    assert standing is not None
    # Until OpenBao itself says that it has ended.
    while bao.ask("GET", "auth/token/lookup-self", token=standing.token).status_code == 200:
        pass
    token = issued.secret.fields["token"]
    assert bao.ask("GET", "kv/data/static", token=token).status_code == 200
    active = msgspec.structs.replace(asked, handle=issued.handle)
    assert await one.renew(active, expires_at=asked.expires_at + 60) > asked.expires_at
    after = one._session._standing
    assert after is not None
    assert after.token != standing.token
    await one.revoke(active)
    assert bao.ask("GET", "kv/data/static", token=token).status_code == 403
    await one.close()


async def test_a_login_that_was_ended_early_is_made_again_with_a_new_token(
    server: OAuthServer, bao: OpenBao
) -> None:
    one = backend(server, bao)
    assert await one.names() == []
    first = one._session._standing
    assert first is not None
    bao.call("POST", "auth/token/revoke", {"token": first.token})
    asked = lease(scopes=("reports",))
    issued = await one.issue(asked)
    await one.revoke(msgspec.structs.replace(asked, handle=issued.handle))
    await one.close()


@pytest.mark.parametrize(
    "wrong",
    [{"bound_audiences": ["https://another.example"]}, {"bound_subject": "https://other.example"}],
)
async def test_a_token_that_the_role_does_not_know_is_refused(
    server: OAuthServer, bao: OpenBao, wrong: dict[str, Any]
) -> None:
    await asyncio.to_thread(trust, bao, server, "stranger", **wrong)
    one = backend(server, bao, role="stranger")
    with pytest.raises(Misconfigured, match="a login by jwt"):
        await one.check()
    await one.close()


async def test_a_token_for_another_server_is_refused_and_its_audience_can_be_named(
    server: OAuthServer, bao: OpenBao
) -> None:
    elsewhere = backend(server, bao, audience="https://another.example")
    with pytest.raises(Misconfigured, match="a login by jwt"):
        await elsewhere.check()
    await elsewhere.close()
    audience = {"bound_audiences": ["bao-of-the-house"]}
    await asyncio.to_thread(trust, bao, server, "named", **audience)
    named = backend(server, bao, role="named", audience="bao-of-the-house")
    await named.check()
    await named.close()


async def test_only_a_published_key_logs_in_and_so_does_the_one_after_it(
    server: OAuthServer, bao: OpenBao, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # Another plane of the same name: what it signs is not in the published keys.
    async with oauth_server(tmp_path_factory.mktemp("other")) as other:
        signer = RingSigner(other.plane.keys, Purpose.CLIENT)
        forger = OpenBaoBackend(
            credential("openbao", settings(bao), scopes=("reports",)),
            references=Secrets({}),
            clock=SystemClock(),
            own_token=own_token(signer, issuer=server.issuer, clock=SystemClock()),
        )
        with pytest.raises(Misconfigured, match="a login by jwt"):
            await forger.check()
        await forger.close()
    rotated = backend(server, bao)
    await rotated.check()
    await server.plane.keys.rotate(Purpose.CLIENT, author=OPERATOR, at_once=True)
    again = backend(server, bao)
    await again.check()  # OpenBao looks at the keys once more for one that it does not know
    for each in (rotated, again):
        await each.close()


async def test_without_a_key_of_its_own_a_token_must_be_named(bao: OpenBao) -> None:
    source = credential("openbao", settings(bao), scopes=("reports",))
    with pytest.raises(Misconfigured, match=r"auth\.jwt"):
        OpenBaoBackend(source, references=Secrets({}), clock=SystemClock())
    # A token that is named comes before one that is signed, and its audience is its own affair.
    named = settings(bao, jwt="env:JWT", audience="https://another.example")
    with pytest.raises(Misconfigured, match=r"auth\.audience is not known"):
        OpenBaoBackend(
            credential("openbao", named, scopes=("reports",)),
            references=Secrets({}),
            clock=SystemClock(),
            own_token=_never,
        )
    one = OpenBaoBackend(
        credential("openbao", settings(bao, jwt="env:JWT"), scopes=("reports",)),
        references=Secrets({"env:JWT": MARKER}),
        clock=SystemClock(),
        own_token=_never,
    )
    with pytest.raises(Misconfigured, match="a login by jwt") as refused:
        await one.check()
    assert MARKER not in str(refused.value)
    await one.close()


async def _never(*asked: object) -> str:
    raise AssertionError(asked)
