"""X509-SVIDs at the authorization server: who shows one is that workload, and so is its token.

The handshake is TLS's; here is what is made of the certificates that it hands up.
"""

from __future__ import annotations

from pathlib import Path

import jwt as pyjwt
import pytest
from draft_kit import DOMAIN, JWT_BEARER, TRANSACTION_TOKEN, drafts
from oauth_kit import ACCESS_TOKEN, CLIENT, TOKEN_EXCHANGE, OAuthServer, oauth_server

from gateways import AGENT
from midflight.domain.attestation import Entry
from midflight.domain.authorization import AuthorizationRefused, Refusal
from midflight.domain.identity import Author
from midflight.domain.revocation import Scope, ScopeKind
from midflight.services.authorization_clients import AuthorizationRequest
from midflight.services.token_mint import Given
from midflight.wire.tokens.certificate import certificate_thumbprint

pytestmark = pytest.mark.anyio


async def chain_of(server: OAuthServer, workload: str = AGENT) -> tuple[bytes, ...]:
    entry = Entry(id="entry_a", spiffe_id=workload, selectors=frozenset())
    return (await server.plane.spiffe.svids.x509(entry, proof="test")).chain


def request(server: OAuthServer, chain: tuple[bytes, ...], **form: str) -> AuthorizationRequest:
    return AuthorizationRequest(
        form=form,
        url=server.token_url,
        chain=chain,
        x5t=certificate_thumbprint(chain[0]) if chain else None,
    )


async def test_a_certificate_is_the_proof_and_what_tokens_are_bound_to(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        chain = await chain_of(server)
        token = server.plane.oauth.authorization.token
        answer = await token(request(server, chain, grant_type="client_credentials"))
        claims = pyjwt.decode(answer["access_token"], options={"verify_signature": False})
        assert (claims["sub"], claims["client_id"]) == (AGENT, AGENT)
        assert claims["cnf"] == {"x5t#S256": certificate_thumbprint(chain[0])}
        exchange = {
            "grant_type": TOKEN_EXCHANGE,
            "subject_token": answer["access_token"],
            "subject_token_type": ACCESS_TOKEN,
        }
        again = await token(request(server, chain, **exchange, scope="mcp:git"))
        assert again["scope"] == "mcp:git"
        # Another certificate of the very same workload is another key.
        with pytest.raises(AuthorizationRefused) as refused:
            await token(request(server, await chain_of(server), **exchange))
        assert refused.value.refusal is Refusal.INVALID_DPOP_PROOF
        named = await token(
            request(server, chain, grant_type="client_credentials", client_id=CLIENT)
        )
        claims = pyjwt.decode(named["access_token"], options={"verify_signature": False})
        assert claims["client_id"] == CLIENT


async def test_a_certificate_that_is_revoked_by_its_serial_number_gets_no_token(
    tmp_path: Path,
) -> None:
    async with oauth_server(tmp_path) as server:
        entry = Entry(id="entry_a", spiffe_id=AGENT, selectors=frozenset())
        lost = await server.plane.spiffe.svids.x509(entry, proof="test")
        await server.plane.interruption.revoke(
            Scope(kind=ScopeKind.TOKEN, id=lost.serial),
            reason="the key was lost",
            author=Author(name="o", proof="test"),
        )
        token = server.plane.oauth.authorization.token
        with pytest.raises(AuthorizationRefused, match="the key was lost"):
            await token(request(server, lost.chain, grant_type="client_credentials"))
        # Another certificate of the workload is as good as before.
        await token(request(server, await chain_of(server), grant_type="client_credentials"))


async def test_a_certificate_of_nobody_or_of_another_authority(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    async with oauth_server(tmp_path / "a") as server, oauth_server(tmp_path / "b") as other:
        chain = await chain_of(server)
        foreign = await chain_of(other)
        token = server.plane.oauth.authorization.token
        for shown in (foreign, (b"garbage",), (foreign[0], *chain[1:])):
            with pytest.raises(AuthorizationRefused) as refused:
                await token(request(server, shown, grant_type="client_credentials"))
            assert refused.value.refusal is Refusal.INVALID_CLIENT
        with pytest.raises(AuthorizationRefused):
            await token(request(server, chain, grant_type="client_credentials", client_id="editor"))


async def test_transactions_and_assertions_by_certificate(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        server = made.server
        chain, other = await chain_of(server), await chain_of(server)
        token = server.plane.oauth.authorization.token
        run = await server.gateway.open_run()
        minted = await server.plane.identity.mint(
            workload=AGENT,
            run=run,
            author=Author(name="o", proof="test"),
            given=Given(client=AGENT, certificate=certificate_thumbprint(chain[0])),
        )
        ask = {
            "grant_type": TOKEN_EXCHANGE,
            "requested_token_type": TRANSACTION_TOKEN,
            "audience": DOMAIN,
            "scope": "mcp",
            "subject_token": minted.token,
            "subject_token_type": ACCESS_TOKEN,
        }
        answer = await token(request(server, chain, **ask))
        claims = await made.verified(answer["access_token"])
        assert (claims["txn"], claims["req_wl"]) == (run, AGENT)
        with pytest.raises(AuthorizationRefused) as refused:
            await token(request(server, other, **ask))
        assert refused.value.refusal is Refusal.INVALID_DPOP_PROOF

        thumbprint = certificate_thumbprint(chain[0])
        for cnf in (..., {"x5t#S256": thumbprint}):
            assertion = made.id_jag(client_id=AGENT, cnf=cnf)
            form = {"grant_type": JWT_BEARER, "assertion": assertion}
            if cnf is not ...:
                with pytest.raises(AuthorizationRefused) as refused:
                    await token(request(server, other, **form))
                assert refused.value.refusal is Refusal.INVALID_GRANT
            answer = await token(request(server, chain, **form))
            claims = pyjwt.decode(answer["access_token"], options={"verify_signature": False})
            assert claims["cnf"] == {"x5t#S256": thumbprint}
