"""Grants of an identity provider: who is shown what, and what is taken for a grant."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import pytest
from credential_kit import MARKER, Asked, Secrets, credential, lease, server
from discovery_kit import Pair, pair
from oauth_backend_kit import READ

from midflight.adapters.clock import SystemClock
from midflight.adapters.credentials.oauth import BEARER, OAuthBackend
from midflight.adapters.credentials.oauth_id_jag import ID_JAG, ID_TOKEN
from midflight.domain.errors import Misconfigured, Unavailable

pytestmark = pytest.mark.anyio

IDENTITY = "the-id-token-of-ann"
GRANT = {"access_token": "the-grant", "issued_token_type": ID_JAG, "token_type": "N_A"}


def backend(one: Pair, idp: dict[str, Any] | None, **more: Any) -> OAuthBackend:
    settings = {
        "discover": True,
        "resource": f"{one.tools}/mcp",
        "issuer": one.server,
        "grant": "id_jag",
        "client_id": "midflight",
        "client_secret": "env:SECRET",
        "idp": idp,
    }
    settings = {name: value for name, value in (settings | more).items() if value is not None}
    return OAuthBackend(
        credential("oauth", settings, scopes=(READ,)),
        references=Secrets({"env:SECRET": MARKER, "file:ann": IDENTITY, "env:IDP": "idp-secret"}),
        clock=SystemClock(),
    )


def idp_of(url: str, **more: Any) -> dict[str, Any]:
    return {
        "issuer": url,
        "client_id": "at-the-provider",
        "client_secret": "env:IDP",
        "subject_token": "file:ann",
        **more,
    }


def provider(answer: Any) -> Any:
    def said(one: Asked) -> Any:
        if "well-known" not in one.path:
            return answer
        base = f"http://{one.headers['host']}"
        return 200, {"issuer": base, "token_endpoint": f"{base}/token"}

    return said


async def test_the_provider_sees_the_person_and_the_server_sees_the_grant() -> None:
    with pair() as one, server(provider((200, GRANT))) as (url, asked):
        made = backend(one, idp_of(url))
        issued = await made.issue(lease(scopes=(READ,)))
        await made.close()
    assert issued.secret.fields == {"token": "tok"}
    assert dict(parse_qsl(asked[-1].body.decode())) == {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "requested_token_type": ID_JAG,
        "audience": one.server,
        "resource": f"{one.tools}/mcp",
        "scope": READ,
        "subject_token": IDENTITY,
        "subject_token_type": ID_TOKEN,
    }
    form = dict(parse_qsl(one.server_asked[-1].body.decode()))
    assert (form["grant_type"], form["assertion"]) == (BEARER, "the-grant")
    # Nobody sees what is another's: neither the person's identity nor the other secret.
    assert all(MARKER not in repr(each) for each in asked)
    for each in (*one.server_asked, *one.upstream_asked):
        assert IDENTITY not in repr(each)
        assert "idp-secret" not in repr(each)


@pytest.mark.parametrize(
    "answer",
    [
        (200, {**GRANT, "issued_token_type": ID_TOKEN}),
        (200, {"access_token": "the-grant"}),
        (200, {**GRANT, "access_token": "two words"}),
        (200, {**GRANT, "access_token": ""}),
        (200, b"the-grant"),
        (400, {"error": "invalid_grant", "error_description": MARKER}),
        (302, {}, {"Location": "/elsewhere"}),
    ],
)
async def test_what_is_no_grant_goes_nowhere(answer: Any) -> None:
    with pair() as one, server(provider(answer)) as (url, _):
        made = backend(one, idp_of(url))
        with pytest.raises((Misconfigured, Unavailable)) as refused:
            await made.issue(lease(scopes=(READ,)))
        await made.close()
    assert MARKER not in f"{refused.value!r}{refused.value}"
    assert IDENTITY not in f"{refused.value!r}{refused.value}"
    assert "/token" not in one.paths()


async def test_an_identity_is_shown_to_nobody_for_an_upstream_that_names_another_server() -> None:
    with pair() as one, server(provider((200, GRANT))) as (url, asked):
        one.resource = {"authorization_servers": ["https://evil.example"]}
        made = backend(one, idp_of(url))
        with pytest.raises(Misconfigured, match="does not name the pinned"):
            await made.issue(lease(scopes=(READ,)))
        await made.close()
    assert asked == []


@pytest.mark.parametrize(
    ("idp", "more", "words"),
    [
        (None, {}, "idp is for the grant id_jag"),
        (idp_of("https://a.example"), {"grant": "client_credentials"}, "idp is for the grant"),
        (idp_of("http://a.example"), {}, "idp.issuer is not an https URL"),
        (idp_of("https://a.example", subject_token=MARKER), {}, "idp.subject_token is not a ref"),
        ({"issuer": "https://a.example"}, {}, "idp.client_id is missing"),
        (idp_of("https://a.example", grant="x"), {}, "idp.grant is not known"),
    ],
)
def test_settings_of_a_provider_are_refused_with_their_problems(
    idp: dict[str, Any] | None, more: dict[str, Any], words: str
) -> None:
    with pytest.raises(Misconfigured, match=words) as refused:
        backend(Pair(tools="https://t.example", server="https://s.example"), idp, **more)
    assert MARKER not in str(refused.value)
