"""An upstream that wants Midflight's credentials at a server of its choice, or to look inwards.

Each attempt ends in a refusal, and neither the secret nor anything made of it has left.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from credential_kit import MARKER, Asked, lease, server
from discovery_kit import CALLBACK, Kept, Pair, discovering, logged_in, pair
from oauth_backend_kit import GOOD, READ, WRITE

from midflight.adapters.credentials.guarded_calls import GuardedCalls
from midflight.adapters.documents.exchange import Exchange, Reach
from midflight.domain.errors import (
    Forbidden,
    Malformed,
    MidflightError,
    Misconfigured,
    NotFound,
    Unavailable,
)

pytestmark = pytest.mark.anyio


def nothing_left(*asked: list[Asked]) -> None:
    """The client's secret is in no request, in no spelling of it."""
    spelled = {MARKER.encode(), b64encode(f"midflight:{MARKER}".encode())}
    for each in [one for several in asked for one in several]:
        whole = each.body + repr(each.headers).encode() + each.path.encode()
        assert not any(text in whole for text in spelled), each.path


async def test_the_named_and_pinned_server_gets_it_and_no_other_does() -> None:
    with pair() as one:
        async with discovering(one) as backend:
            issued = await backend.issue(lease(scopes=(READ,)))
    assert issued.secret.fields == {"token": "tok"}
    token = one.server_asked[-1]
    assert b"resource=http" in token.body
    pair_sent = b64encode(f"midflight:{MARKER}".encode()).decode()
    assert token.headers["authorization"] == f"Basic {pair_sent}"  # which goes before post
    assert MARKER not in token.body.decode()
    nothing_left(one.upstream_asked, one.server_asked[:-1])


async def test_no_server_is_trusted_on_first_use_by_traffic() -> None:
    with pair() as one:
        async with discovering(one, issuer=None) as backend:
            with pytest.raises(Misconfigured, match="pinned"):
                await backend.issue(lease(scopes=(READ,)))
            with pytest.raises(Misconfigured, match="pinned"):
                await backend.check()
    assert one.upstream_asked == one.server_asked == []


async def test_another_server_than_the_pinned_one_gets_nothing() -> None:
    with pair() as one, server(lambda _: (200, GOOD)) as (evil, evil_asked):
        one.resource = {"authorization_servers": [evil]}
        async with discovering(one) as backend:
            with pytest.raises(Misconfigured, match="does not name the pinned") as refused:
                await backend.issue(lease(scopes=(READ,)))
    # What it names is its text, and an agent may see this.
    assert evil not in str(refused.value)
    assert evil_asked == one.server_asked == []
    nothing_left(one.upstream_asked)


async def test_a_server_named_besides_the_pinned_one_gets_nothing() -> None:
    with pair() as one, server(lambda _: (200, GOOD)) as (evil, evil_asked):
        one.resource = {"authorization_servers": [evil, one.server]}
        async with discovering(one) as backend:
            await backend.issue(lease(scopes=(READ,)))
        async with discovering(one, issuer=None) as backend:
            with pytest.raises(Misconfigured, match="no single authorization server"):
                await backend.pinned()
    assert evil_asked == []


async def test_pinning_is_of_what_an_operator_saw_and_sends_no_secret() -> None:
    with pair() as one:
        one.challenge = 'Bearer scope="reports:read"'
        async with discovering(one, issuer=None, scopes=()) as backend:
            found = await backend.pinned()
    assert found.settings["issuer"] == one.server
    assert found.scopes == (READ,)
    nothing_left(one.upstream_asked, one.server_asked)


async def test_what_is_asked_for_never_widens_what_an_operator_gave() -> None:
    with pair() as one:
        one.challenge = f'Bearer scope="{READ} {WRITE} admin"'
        one.resource = {"scopes_supported": ["root"]}
        async with discovering(one) as backend:
            assert (await backend.pinned()).scopes == (READ,)
            assert "admin" in await backend.check()  # for the operator
            await backend.issue(lease(scopes=(READ,)))
            with pytest.raises(Forbidden):
                await backend.issue(lease(scopes=(READ, WRITE)))
    tokens = [each.body for each in one.server_asked if each.path == "/token"]
    assert all(b"admin" not in body and b"root" not in body for body in tokens)


@pytest.mark.parametrize(
    "resource",
    [
        "https://elsewhere.example/mcp",
        "{tools}/mcp/",
        "{tools}/MCP",
        "{tools}/mcp?x=1",
        "{tools}",
        "{tools}:80/mcp",
    ],
)
async def test_metadata_of_another_resource_is_not_believed(resource: str) -> None:
    with pair() as one:
        one.resource = {"resource": resource.format(tools=one.tools)}
        async with discovering(one) as backend:
            with pytest.raises(Misconfigured, match="another resource"):
                await backend.issue(lease(scopes=(READ,)))
    assert one.server_asked == []


async def test_metadata_at_another_origin_is_not_asked_for() -> None:
    with pair() as one, server(lambda _: (200, {})) as (evil, evil_asked):
        for where in (f"{evil}/prm", "http://169.254.169.254/latest", f"{one.tools}@evil.example/"):
            one.challenge = f'Bearer resource_metadata="{where}"'
            async with discovering(one) as backend:
                with pytest.raises(Misconfigured, match="another origin"):
                    await backend.issue(lease(scopes=(READ,)))
        assert evil_asked == one.server_asked == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("who", ["resource", "server", "token"])
async def test_a_redirect_leads_nowhere(status: int, who: str) -> None:
    with pair() as one, server(lambda _: (200, GOOD)) as (evil, evil_asked):
        path = {
            "resource": "/.well-known/oauth-protected-resource/mcp",
            "server": "/.well-known/oauth-authorization-server",
            "token": "/token",
        }[who]
        one.extra[path] = (status, {}, {"Location": f"{evil}{path}"})
        async with discovering(one) as backend:
            with pytest.raises((Misconfigured, Unavailable)):
                await backend.issue(lease(scopes=(READ,)))
    assert evil_asked == []


@pytest.mark.parametrize(
    "issuer",
    [
        "http://169.254.169.254",
        "https://169.254.169.254/latest",
        "https://[fd00:ec2::254]",
        "https://10.0.0.1",
        "https://192.168.1.1",
        "https://[::ffff:10.0.0.1]",
        "http://10.0.0.1",
        "http://example.org",
        "file:///etc/passwd",
        "gopher://127.0.0.1:70",
        "https://user@127.0.0.1",
        "https://0.0.0.0",
    ],
)
async def test_a_server_named_inwards_is_neither_asked_nor_pinned(
    issuer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pair() as one:
        one.resource = {"authorization_servers": [issuer]}
        reached: list[Any] = []
        monkeypatch.setattr(
            "midflight.adapters.documents.exchange.Exchange._connect",
            _noting(reached, port=int(one.tools.rpartition(":")[2])),
        )
        async with discovering(one, issuer=None) as backend:
            with pytest.raises(MidflightError):
                await backend.pinned()
    assert reached == []


def _noting(reached: list[Any], *, port: int) -> Any:
    real = Exchange._connect

    async def connect(self: Exchange, host: str, to: int, address: str, **more: Any) -> Any:
        if to != port:
            reached.append((host, to, address))
        return await real(self, host, to, address, **more)

    return connect


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.1.2.3", "169.254.169.254", "fe80::1"])
async def test_an_upstream_elsewhere_names_nothing_on_this_machine(address: str) -> None:
    asked: list[str] = []

    async def resolve(host: str, _port: int) -> list[str]:
        asked.append(host)
        return [address]

    calls = GuardedCalls(named="The upstream", reach=Reach(), resolve=resolve)
    for url in ("https://tools.example/a", "http://tools.example/a", "http://localhost/a"):
        with pytest.raises(Unavailable) as refused:
            await calls.send("GET", url)
        assert address not in str(refused.value)
    assert asked == ["tools.example"]  # http is not even looked up


async def test_what_is_reached_goes_by_where_the_upstream_is() -> None:
    with pair() as one:
        for url, reach in (
            ("https://tools.example/mcp", Reach()),
            (f"{one.tools}/mcp", Reach(loopback=True)),
        ):
            async with discovering(one, resource=url, issuer="https://as.example") as backend:
                assert isinstance(backend._calls, GuardedCalls)
                assert backend._calls._reach == reach


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://as.example"},
        {"issuer": "{server}/"},
        {"issuer": 7},
        {"token_endpoint": "https://elsewhere.example/token"},
        {"token_endpoint": "{tools}/token"},
        {"token_endpoint": "http://169.254.169.254/token"},
        {"token_endpoint": ["{server}/token"]},
        {"revocation_endpoint": "{tools}/revoke"},
        {"token_endpoint_auth_methods_supported": "client_secret_basic"},
        {"token_endpoint_auth_methods_supported": ["tls_client_auth"]},
    ],
)
async def test_a_server_that_speaks_for_another_gets_nothing(metadata: dict[str, Any]) -> None:
    with pair() as one:
        one.metadata = {
            name: value.format(server=one.server, tools=one.tools)
            if isinstance(value, str)
            else value
            for name, value in metadata.items()
        }
        async with discovering(one) as backend:
            with pytest.raises(Misconfigured):
                await backend.issue(lease(scopes=(READ,)))
    assert one.paths() == ["/.well-known/oauth-authorization-server"]
    nothing_left(one.upstream_asked, one.server_asked)


@pytest.mark.parametrize(
    "body",
    [
        b"{" + b" " * 70_000 + b"}",
        b"[" * 5_000,
        b'{"resource": "a", "resource": "b"}',
        b"\xff\xfe",
        b"",
        b'{"resource": null}',
    ],
)
async def test_metadata_that_bites_is_refused(body: bytes) -> None:
    with pair() as one:
        one.extra["/.well-known/oauth-protected-resource/mcp"] = (200, body)
        async with discovering(one) as backend:
            with pytest.raises((Misconfigured, Unavailable)):
                await backend.issue(lease(scopes=(READ,)))
    assert one.server_asked == []


# Logins of people

PERSON = {"grant": "authorization_code"}


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"state": "x" * 43}, Forbidden),
        ({"state": ""}, Forbidden),
        ({"iss": "https://evil.example"}, Forbidden),
        ({"iss": ""}, Forbidden),
        ({"error": "access_denied"}, Forbidden),
        ({"error": f"{MARKER}-in-words"}, Forbidden),
        ({"code": ""}, Malformed),
    ],
)
async def test_an_answer_from_elsewhere_ends_a_login_without_a_request(
    change: dict[str, str], error: type[MidflightError]
) -> None:
    with pair() as one:
        async with discovering(one, **PERSON) as backend:
            with pytest.raises(error) as refused:
                await logged_in(backend, **change)
    assert MARKER not in str(refused.value)
    assert "/token" not in one.paths()


async def test_an_answer_is_taken_once() -> None:
    with pair() as one:
        async with discovering(one, **PERSON) as backend:
            begun = await backend.begin_login(CALLBACK)
            for _ in range(2):
                with pytest.raises((Forbidden, NotFound)) as refused:
                    await backend.finish_login(begun.id, {"state": "guessed", "code": "c"})
            assert isinstance(refused.value, NotFound)


@pytest.mark.parametrize("methods", [[], ["plain"], None])
async def test_nobody_is_sent_to_a_server_without_pkce(methods: list[str] | None) -> None:
    with pair() as one:
        one.metadata = {"code_challenge_methods_supported": methods}
        async with discovering(one, **PERSON) as backend:
            with pytest.raises(Misconfigured, match="PKCE"):
                await backend.begin_login(CALLBACK)
    assert "/register" not in one.paths()


@pytest.mark.parametrize(
    "back",
    [
        "https://evil.example/callback",
        "http://evil.example/",
        "http://127.0.0.1.evil.example/",
        "http://127.0.0.1@evil.example/",
        "file:///tmp/x",
        "http://127.0.0.1:9/#x",
    ],
)
async def test_a_code_comes_back_to_this_machine_alone(back: str) -> None:
    with pair() as one:
        async with discovering(one, **PERSON) as backend:
            with pytest.raises(Malformed):
                await backend.begin_login(back)
    assert one.server_asked == []


@pytest.mark.parametrize("name", ["authorization_endpoint", "registration_endpoint"])
async def test_a_login_goes_to_the_server_that_was_pinned(name: str) -> None:
    with pair() as one, server(lambda _: (201, {"client_id": "x"})) as (evil, evil_asked):
        one.metadata = {name: f"{evil}/here"}
        async with discovering(one, **PERSON) as backend:
            with pytest.raises(Misconfigured, match=name):
                await backend.begin_login(CALLBACK)
    assert evil_asked == []


async def test_a_login_at_one_server_is_good_for_no_other() -> None:
    kept = Kept()
    with pair() as one, pair() as other:
        one.token = (200, {**GOOD, "refresh_token": MARKER})
        async with discovering(one, kept=kept, **PERSON) as backend:
            await logged_in(backend)
            await backend.issue(lease(scopes=(READ,)))
        assert MARKER.encode() in one.server_asked[-1].body
        async with discovering(other, kept=kept, **PERSON) as backend:
            with pytest.raises(Misconfigured, match="another authorization server"):
                await backend.issue(lease(scopes=(READ,)))
        nothing_left(other.upstream_asked, other.server_asked)


async def test_a_login_is_not_lent_wider_than_a_lease() -> None:
    with pair() as one:
        one.token = (200, {**GOOD, "scope": f"{READ} {WRITE}"})
        async with discovering(one, scopes=(READ, WRITE), **PERSON) as backend:
            await logged_in(backend)
            with pytest.raises(Misconfigured, match="cannot be narrowed"):
                await backend.issue(lease(scopes=(READ,)))
            await backend.issue(lease(scopes=(READ, WRITE)))
        one.token = (200, {**GOOD, "scope": f"{READ} {WRITE}", "refresh_token": "r"})
        async with discovering(one, scopes=(READ, WRITE), **PERSON) as backend:
            await logged_in(backend)
            # Asked for less, it gives all of it again.
            with pytest.raises(Misconfigured, match="not asked for"):
                await backend.issue(lease(scopes=(READ,)))
    assert b"scope=reports%3Aread&" in one.server_asked[-1].body


async def test_what_a_login_gave_is_in_no_repr_no_error_and_no_log(
    capsys: pytest.CaptureFixture[str],
) -> None:
    kept = Kept()
    with pair() as one:
        one.token = (200, {**GOOD, "access_token": MARKER, "refresh_token": MARKER})
        async with discovering(one, kept=kept, **PERSON) as backend:
            ended = await logged_in(backend)
            issued = await backend.issue(lease(scopes=(READ,)))
            shown = f"{ended!r}{issued!r}{issued.secret!r}{backend!r}"
            one.token = (400, {"error": MARKER, "error_description": MARKER})
            with pytest.raises(Misconfigured) as refused:
                await backend.issue(lease(scopes=(READ,)))
            await backend.end_login()
    said = capsys.readouterr()
    assert "login_not_ended_there" not in said.out  # the server has nothing that could be told
    assert MARKER not in f"{shown}{refused.value!r}{refused.value}{said.out}{said.err}"
    assert kept.table == {}


async def test_a_registration_that_cannot_be_used_is_refused() -> None:
    for answer in (
        {},
        {"client_id": 7},
        {"client_id": "x", "token_endpoint_auth_method": "tls_client_auth"},
        {"client_id": "x", "token_endpoint_auth_method": "client_secret_basic"},
        {"client_id": "ü", "client_secret": "s"},
        {"client_id": "x", "client_secret": ["s"]},
    ):
        with pair() as one:
            one.extra["/register"] = (201, answer)
            async with discovering(one, **PERSON) as backend:
                with pytest.raises(Misconfigured, match="registers Midflight"):
                    await backend.begin_login(CALLBACK)


def test_the_pair_says_what_it_is_told() -> None:
    one = Pair(tools="http://t", server="http://s")
    assert one.upstream(Asked("GET", "/nothing", {}, b"")) == (404, {})
