"""The OAuth backend against `oidc-provider`, and against servers that misbehave."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any
from urllib.parse import urlsplit

import httpx2
import jwt
import pytest
from credential_kit import MARKER, Asked, Secrets, credential, lease, server
from oauth_backend_kit import CLIENT, GOOD, READ, SECRET, WORKLOADS, WRITE, client, pem, pretending
from oidc_provider_kit import oidc_provider

from midflight.adapters.clock import SystemClock
from midflight.adapters.credentials.client_keys import PemSigner
from midflight.adapters.credentials.dpop_proofs import KEY_FIELD, DpopKey, DpopSigner
from midflight.adapters.credentials.oauth import OAuthBackend
from midflight.domain.errors import Conflict, Forbidden, Misconfigured, Unavailable
from midflight.domain.lease import Lease, Revocability, Secret
from midflight.wire.tokens.dpop import verify_proof
from midflight.wire.tokens.jwk import thumbprint

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    public = PemSigner(CLIENT, named="client").public_jwk
    clients = [
        {
            "client_id": "keyed",
            "token_endpoint_auth_method": "private_key_jwt",
            "jwks": {"keys": [public]},
        },
        {
            "client_id": "basic",
            "client_secret": SECRET,
            "token_endpoint_auth_method": "client_secret_basic",
        },
    ]
    subjects = {
        "issuer": "https://midflight.example",
        "jwks": {"keys": [PemSigner(WORKLOADS, named="workloads").public_jwk]},
    }
    with oidc_provider(
        tmp_path_factory.mktemp("op"), clients=clients, subjects=subjects
    ) as running:
        yield running


def introspected(issuer: str, token: str) -> dict[str, Any]:
    answer = httpx2.post(
        f"{issuer}/token/introspection",
        data={"token": token},
        auth=("basic", "client-secret-of-the-tests-%2F%2B%25%3A%201"),
        trust_env=False,
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.oidc_provider
async def test_a_token_is_bound_to_the_key_of_its_lease(issuer: str) -> None:
    async with client(issuer, resource="urn:test:jwt", dpop=True) as one:
        assert "are revoked" in await one.check()
        asked = lease(scopes=(READ,))
        issued = await one.issue(asked)
        token = issued.secret.fields["token"]
        assert jwt.get_unverified_header(token)["typ"] == "at+jwt"
        claims = jwt.decode(token, options={"verify_signature": False})
        key = json.loads(issued.secret.fields[KEY_FIELD])
        public = {name: key[name] for name in ("kty", "crv", "x", "y")}
        assert claims["cnf"] == {"jkt": thumbprint(public)}
        assert (claims["scope"], claims["aud"]) == (READ, "urn:test:jwt")
        await one.revoke(asked)
        other = await one.issue(lease(scopes=(READ,)))
        assert other.secret.fields[KEY_FIELD] != issued.secret.fields[KEY_FIELD]
        # Its proofs are good here, for this token and this request.
        signer = DpopSigner.of(issued.secret, clock=SystemClock())
        headers = dict(signer.sign("POST", "https://api.example/v1/r?page=2", [], b""))
        assert headers["Authorization"] == f"DPoP {token}"
        verify_proof(
            headers["DPoP"],
            method="POST",
            url="https://api.example/v1/r",
            token=token,
            bound_to=thumbprint(public),
            now=SystemClock().now(),
        )
        for text in (repr(issued), repr(issued.secret), repr(signer)):
            assert token not in text
            assert key["d"] not in text


@pytest.mark.oidc_provider
async def test_their_server_refuses_a_replayed_proof_and_one_for_elsewhere(issuer: str) -> None:
    key = DpopKey.fresh(clock=SystemClock())
    async with client(issuer) as one:
        url = (await one._server.metadata()).token

        async def ask(proof: str) -> httpx2.Response:
            _, more = await one._server._identity.said(await one._server.metadata(), None)
            form = {"grant_type": "client_credentials", "scope": READ, **more}
            return httpx2.post(url, data=form, headers={"DPoP": proof}, trust_env=False)

        good = key.proof("POST", url)
        assert (await ask(good)).status_code == 200
        replayed = await ask(good)
        assert replayed.status_code == 400
        assert replayed.json()["error"] in {"invalid_grant", "invalid_dpop_proof"}
        wrong = await ask(key.proof("POST", f"{issuer}/elsewhere"))
        assert (wrong.status_code, wrong.json()["error"]) == (400, "invalid_dpop_proof")
        wrong = await ask(key.proof("GET", url))
        assert (wrong.status_code, wrong.json()["error"]) == (400, "invalid_dpop_proof")


@pytest.mark.oidc_provider
async def test_a_nonce_is_sent_back_when_the_server_wants_one(issuer: str) -> None:
    httpx2.put(f"{issuer}/test/nonces", trust_env=False)
    try:
        async with client(issuer, dpop=True) as one:
            issued = await one.issue(lease(scopes=(READ,)))
            assert introspected(issuer, issued.secret.fields["token"])["active"] is True
    finally:
        httpx2.delete(f"{issuer}/test/nonces", trust_env=False)


@pytest.mark.oidc_provider
@pytest.mark.parametrize("more", [{}, {"method": "client_secret_basic"}, {"dpop": True}])
async def test_a_token_is_active_until_it_is_revoked(issuer: str, more: dict[str, Any]) -> None:
    async with client(issuer, **more) as one:
        asked = lease(scopes=(WRITE, READ))
        issued = await one.issue(asked)
        token = issued.secret.fields["token"]
        said = introspected(issuer, token)
        assert said["active"] is True
        assert set(said["scope"].split()) == {READ, WRITE}
        assert ("cnf" in said) is bool(more.get("dpop"))
        assert issued.secret.expires_at is not None
        assert abs(issued.secret.expires_at - said["exp"]) <= 2
        await one.revoke(asked)
        assert introspected(issuer, token)["active"] is False
        await one.revoke(asked)
        # Again for the same lease: the first is revoked by it.
        first = (await one.issue(asked)).secret.fields["token"]
        await one.issue(asked)
        assert introspected(issuer, first)["active"] is False


@pytest.mark.oidc_provider
async def test_a_workloads_token_is_exchanged_and_a_forged_one_is_not(issuer: str) -> None:
    signing = WORKLOADS

    async def subject(wanted: Lease) -> str:
        now = int(SystemClock().now())
        claims = {
            "iss": "https://midflight.example",
            "sub": f"spiffe://midflight.example/{wanted.workload}",
            "aud": issuer,
            "iat": now,
            "exp": now + 60,
        }
        kid = PemSigner(WORKLOADS, named="workloads").public_jwk["kid"]
        return jwt.encode(claims, signing, algorithm="ES256", headers={"kid": kid})

    async with client(issuer, grant="token_exchange", subject_token=subject) as one:
        issued = await one.issue(lease(scopes=(READ,)))
        said = introspected(issuer, issued.secret.fields["token"])
        assert said["scope"] == READ
        assert said["sub_of"] == "spiffe://midflight.example/builder"
        signing = pem()
        with pytest.raises(Misconfigured, match="invalid_grant"):
            await one.issue(lease(scopes=(READ,)))


@pytest.mark.oidc_provider
async def test_a_wrong_secret_is_said_and_not_shown(issuer: str) -> None:
    async with client(issuer, method="client_secret_basic", secrets={"env:SECRET": MARKER}) as one:
        with pytest.raises(Misconfigured, match="invalid_client") as refused:
            await one.issue(lease(scopes=(READ,)))
        assert MARKER not in f"{refused.value!r}{refused.value}{refused.value.__context__}"


async def test_an_issuer_with_a_path_is_found_as_its_rfc_says() -> None:
    def answer(one: Asked) -> Any:
        base = f"http://{one.headers['host']}"
        if one.path.startswith("/.well-known/"):
            return 404, {}
        known = {"issuer": f"{base}/tenant", "token_endpoint": f"{base}/tenant/token"}
        return (200, known) if "well-known" in one.path else (200, GOOD)

    with server(answer) as (url, asked):
        async with client(f"{url}/tenant") as one:
            asked_for = lease(scopes=(READ,))
            await one.issue(asked_for)
            await one.revoke(asked_for)
            assert "expiry alone" in await one.check()
    assert [urlsplit(one.path).path for one in asked][:4] == [
        "/.well-known/oauth-authorization-server/tenant",
        "/.well-known/openid-configuration/tenant",
        "/tenant/.well-known/openid-configuration",
        "/tenant/token",
    ]


async def test_a_server_that_cannot_revoke_such_tokens_is_not_asked_for_ever() -> None:
    lying = pretending((200, GOOD))

    def answer(one: Asked) -> Any:
        refusal = {"error": "unsupported_token_type"}
        return (400, refusal) if one.path == "/revoke" else lying(one)

    with server(answer) as (url, asked):
        async with client(url) as one:
            asked_for = lease(scopes=(READ,))
            await one.issue(asked_for)
            await one.revoke(asked_for)
            await one.revoke(asked_for)
    assert [one.path for one in asked].count("/revoke") == 1


async def test_a_server_that_is_down_is_asked_again_to_revoke() -> None:
    lying, down = pretending((200, GOOD)), [500]

    def answer(one: Asked) -> Any:
        return (down[0], {}) if one.path == "/revoke" else lying(one)

    with server(answer) as (url, asked):
        async with client(url) as one:
            asked_for = lease(scopes=(READ,))
            await one.issue(asked_for)
            with pytest.raises(Unavailable):
                await one.revoke(asked_for)
            down[0] = 200
            await one.revoke(asked_for)
    assert [one.path for one in asked].count("/revoke") == 2


async def test_scopes_that_the_credential_lacks_are_refused_before_any_call() -> None:
    with server(pretending((200, GOOD))) as (url, asked):
        async with client(url) as one:
            for scopes in (("admin",), (READ, "admin"), ()):
                with pytest.raises(Forbidden):
                    await one.issue(lease(scopes=scopes))
            with pytest.raises(Conflict):
                await one.renew(lease(scopes=(READ,)), expires_at=1)
            assert one.revocability is Revocability.AT_EXPIRY
        assert asked == []


def test_settings_are_refused_with_all_their_problems() -> None:
    settings = {
        "issuer": "http://as.example",
        "grant": "token_exchange",
        "method": "client_secret_post",
        "client_secret": MARKER,
        "dpop": "yes",
        "hosts": ["a b"],
    }
    with pytest.raises(Misconfigured) as refused:
        OAuthBackend(
            credential("oauth", settings, scopes=("a b",)),
            references=Secrets({}),
            clock=SystemClock(),
        )
    for words in ("issuer", "client_id", "client_secret", "resource", "dpop", "hosts", "'a b'"):
        assert words in str(refused.value)
    assert MARKER not in str(refused.value)


def test_a_credential_without_a_key_makes_no_proofs() -> None:
    for fields in ({"token": "t"}, {"token": "t", KEY_FIELD: MARKER}, {KEY_FIELD: "{}"}):
        with pytest.raises(Misconfigured) as refused:
            DpopSigner.of(Secret(fields=fields), clock=SystemClock())
        assert MARKER not in f"{refused.value}{refused.value.__context__}"
