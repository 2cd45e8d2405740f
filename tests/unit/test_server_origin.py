from __future__ import annotations

from typing import Any

import pytest

from midflight.apps.server.origin import OriginPolicy


def scope(
    host: str, origin: str = "", *, server: Any = ("127.0.0.1", 80), tls: bool = False
) -> Any:
    headers = [(b"host", host.encode()), *([(b"origin", origin.encode())] if origin else [])]
    return {"headers": headers, "server": server, "scheme": "https" if tls else "http"}


def passes(policy: OriginPolicy, asked: Any) -> bool:
    return policy.check(asked) is None


def test_the_default_port_may_be_left_out_and_no_other() -> None:
    policy = OriginPolicy(["plane.example"])
    assert passes(policy, scope("localhost", "http://localhost"))
    assert passes(policy, scope("plane.example:80", "http://plane.example"))
    assert not passes(policy, scope("localhost", server=("127.0.0.1", 8_600)))
    assert passes(policy, scope("plane.example", server=("192.0.2.1", 443), tls=True))
    assert not passes(policy, scope("plane.example", server=("192.0.2.1", 80), tls=True))


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://Plane.example", "plane.example"),
        ("https://plane.example:443/base", "plane.example"),
        ("https://plane.example:8443", "plane.example:8443"),
        ("https://[2001:db8::1]", "[2001:db8::1]"),
    ],
)
def test_the_url_that_clients_use_passes_behind_something_that_keeps_it(
    url: str, host: str
) -> None:
    policy = OriginPolicy(url=url)
    behind = ("127.0.0.1", 8_600)
    assert passes(policy, scope(host, f"https://{host}", server=behind))
    assert passes(policy, scope("127.0.0.1:8600", server=behind))
    assert not passes(policy, scope(f"{host}.evil.example", server=behind))
    assert not passes(policy, scope(host, f"http://{host}", server=behind))
    assert not passes(policy, scope(host, server=("", None)))


def test_an_address_other_machines_reach_has_its_own_name_and_no_loopback_one() -> None:
    policy = OriginPolicy()
    reached = ("192.0.2.1", 8_600)
    assert passes(policy, scope("192.0.2.1:8600", server=reached, tls=True))
    assert not passes(policy, scope("localhost:8600", server=reached, tls=True))
    assert passes(policy, scope("[2001:db8::1]:8600", server=("2001:db8::1", 8_600), tls=True))


def test_an_origin_must_have_the_listener_s_scheme() -> None:
    policy = OriginPolicy()
    server = ("127.0.0.1", 8_600)
    assert passes(
        policy, scope("localhost:8600", "https://localhost:8600", server=server, tls=True)
    )
    assert not passes(
        policy, scope("localhost:8600", "http://localhost:8600", server=server, tls=True)
    )


def test_a_unix_socket_has_the_names_that_local_clients_give_it() -> None:
    policy = OriginPolicy()
    server = ("/run/midflight/control.sock", None)
    assert passes(policy, scope("localhost", server=server))
    assert passes(policy, scope("midflight", server=server))
    assert not passes(policy, scope("evil.example", server=server))
    assert not passes(policy, scope("localhost", "http://evil.example", server=server))


@pytest.mark.parametrize("origin", ["null", "http://evil.example", "file://"])
def test_a_foreign_origin_is_named_in_the_reason(origin: str) -> None:
    refusal = OriginPolicy().check(scope("localhost", origin))
    assert refusal is not None
    assert (refusal.status, refusal.code) == (403, "foreign_origin")


def test_a_refusal_does_not_repeat_what_the_stranger_sent() -> None:
    refusal = OriginPolicy().check(scope("<script>.example"))
    assert refusal is not None
    assert "script" not in refusal.reason + refusal.hint
