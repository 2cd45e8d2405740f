"""Workloads that connect to the gateway with an X509-SVID, over real TLS, and their end."""

from __future__ import annotations

import contextlib
import ssl
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest
from authority import Authority, trusting
from bare_client import Modern
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from gateways import AGENT, OPERATOR, Gateway, running_gateway
from midflight.apps.settings import load
from midflight.domain.attestation import Entry
from midflight.domain.errors import Misconfigured
from midflight.domain.identity import trust_domain
from midflight.domain.revocation import Scope, ScopeKind
from midflight.domain.spiffe import X509Svid
from servers.sdk_server import Served, over_http

pytestmark = pytest.mark.anyio


async def svid_of(gateway: Gateway) -> X509Svid:
    entry = Entry(id="entry_t", spiffe_id=AGENT, selectors=(), added_by="test", proof="test")
    return await gateway.plane.spiffe.svids.x509(entry, proof="test")


def shown(context: ssl.SSLContext, svid: X509Svid) -> ssl.SSLContext:
    """The context, showing an SVID."""
    pem = serialization.Encoding.PEM
    chain = b"".join(x509.load_der_x509_certificate(der).public_bytes(pem) for der in svid.chain)
    key = serialization.load_der_private_key(svid.key, None).private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with tempfile.NamedTemporaryFile() as file:
        file.write(chain + key)
        file.flush()
        context.load_cert_chain(file.name)
    return context


@contextlib.asynccontextmanager
async def gateway_of(
    folder: Path, served: Served | None = None
) -> AsyncIterator[tuple[Gateway, Authority]]:
    authority = Authority(folder)
    certificate, key = authority.issue("server")
    settings = {
        "listen": "127.0.0.1:0",
        "public_url": "https://localhost:8600",
        "tls": {"certificate": certificate, "key": key, "svids": True},
    }
    async with (
        over_http(served) as url,
        running_gateway(
            folder, [{"name": "one", "url": url, "reach": "closed"}], gateway=settings
        ) as gateway,
    ):
        await gateway.pin_all()
        gateway.url = gateway.url.replace("127.0.0.1", "localhost")
        yield gateway, authority


@contextlib.asynccontextmanager
async def client(verify: ssl.SSLContext) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(timeout=30, trust_env=False, verify=verify) as http:
        yield http


async def call(http: httpx2.AsyncClient, gateway: Gateway) -> httpx2.Response:
    agent = Modern(http, f"{gateway.url}/mcp")
    return await agent.post(agent.request("tools/call", name="echo", arguments={"text": "a"}))


async def test_a_workload_that_connects_with_its_svid_needs_no_token(tmp_path: Path) -> None:
    served = Served()
    async with gateway_of(tmp_path, served) as (gateway, authority):
        svid = await svid_of(gateway)
        async with client(shown(trusting(authority), svid)) as http:
            answer = await call(http, gateway)
            assert answer.status_code == 200
            assert answer.json()["result"]["isError"] is False
        # A certificate may be shown and need not be: tokens go on as before.
        async with client(trusting(authority)) as http:
            assert (await call(http, gateway)).status_code == 401
            token = await gateway.token()
            http.headers["authorization"] = f"Bearer {token}"
            assert (await call(http, gateway)).status_code == 200
    assert served.calls == ["echo", "echo"]


@pytest.mark.parametrize("kind", [ScopeKind.TOKEN, ScopeKind.WORKLOAD, ScopeKind.TRUST_DOMAIN])
async def test_a_revocation_holds_on_a_connection_that_is_warm(
    tmp_path: Path, kind: ScopeKind
) -> None:
    served = Served()
    async with gateway_of(tmp_path, served) as (gateway, authority):
        svid = await svid_of(gateway)
        names = {
            ScopeKind.TOKEN: svid.serial,
            ScopeKind.WORKLOAD: AGENT,
            ScopeKind.TRUST_DOMAIN: trust_domain(AGENT),
        }
        async with client(shown(trusting(authority), svid)) as http:
            assert (await call(http, gateway)).status_code == 200
            await gateway.plane.interruption.revoke(
                Scope(kind=kind, id=names[kind]), reason="stolen", author=OPERATOR
            )
            answer = await call(http, gateway)
            refused = answer.status_code == 401 or answer.json()["result"]["isError"]
            assert refused, answer.text
    assert served.calls == ["echo"]


async def test_a_certificate_of_strangers_ends_in_the_handshake(tmp_path: Path) -> None:
    async with gateway_of(tmp_path) as (gateway, authority):
        certificate, key = authority.issue("stranger")
        context = trusting(authority)
        context.load_cert_chain(certificate, key)
        async with client(context) as http:
            with pytest.raises(httpx2.TransportError):
                await call(http, gateway)


def test_certificates_of_a_file_and_svids_are_not_asked_for_at_once(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server")
    (tmp_path / "midflight.toml").write_text(
        f'[gateway.tls]\ncertificate = "{certificate}"\nkey = "{key}"\n'
        f'client_ca = "{authority.file}"\nsvids = true\n'
    )
    with pytest.raises(Misconfigured) as caught:
        load(tmp_path / "midflight.toml")
    problems: Sequence[Any] = caught.value.problems
    assert any("one of them" in problem for problem in problems)
