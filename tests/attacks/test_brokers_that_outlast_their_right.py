"""Brokers that take what is not theirs: the workload's share, or what is made while they end."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest
from broker_kit import (
    AUTHOR,
    PROXY,
    TRIAGE,
    House,
    broker_house,
    fetch,
    packed,
    subscribe,
    workload,
)

from midflight.apps.workload_api.descriptors import messages
from midflight.domain.revocation import Scope, ScopeKind
from midflight.domain.spiffe import TrustBundle
from midflight.services.mint_rates import BURST

OWN = messages()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with broker_house(tmp_path) as made:
        yield made


def status(act: Callable[[], Any]) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as refused:
        act()
    return refused.value.code()  # type: ignore[attr-defined, no-any-return] # of grpc's own making


def test_flooding_for_a_workload_leaves_it_its_own_svids(house: House) -> None:
    with workload() as process, house.channel(house.svid()) as channel:
        reference = packed(process.pid)
        answers = [fetch(channel, reference=reference) for _ in range(BURST)]
        assert all(answer.svids for answer in answers)

        def more() -> None:
            for _ in range(BURST):
                fetch(channel, reference=reference)

        assert status(more) is grpc.StatusCode.RESOURCE_EXHAUSTED
    with grpc.insecure_channel(f"unix:{house.plane.plane.settings.workload_socket}") as channel:
        method = channel.unary_stream(
            "/SpiffeWorkloadAPI/FetchX509SVID",
            request_serializer=OWN["X509SVIDRequest"].SerializeToString,
            response_deserializer=OWN["X509SVIDResponse"].FromString,
        )
        header = (("workload.spiffe.io", "true"),)
        own = method(OWN["X509SVIDRequest"](), metadata=header, timeout=30)
        assert [svid.spiffe_id for svid in next(own).svids] == [TRIAGE]
        own.cancel()


@pytest.mark.parametrize("kind", ["jwt", "x509"])
@pytest.mark.parametrize("whose", [PROXY, TRIAGE])
def test_what_is_made_while_one_of_the_two_is_revoked_is_not_handed_out(
    house: House, monkeypatch: pytest.MonkeyPatch, kind: str, whose: str
) -> None:
    plane = house.plane.plane
    make: Any = getattr(plane.spiffe.svids, kind)
    house.svid()

    async def revoked_meanwhile(*arguments: Any, **named: Any) -> Any:
        made = await make(*arguments, **named)
        scope = Scope(kind=ScopeKind.WORKLOAD, id=whose)
        await plane.interruption.revoke(scope, reason="stolen", author=AUTHOR)
        return made

    monkeypatch.setattr(plane.spiffe.svids, kind, revoked_meanwhile)
    with workload() as process, house.channel(house.svid()) as channel:
        reference = packed(process.pid)

        def ask() -> None:
            if kind == "jwt":
                fetch(channel, reference=reference)
            else:
                with subscribe(channel, "X509SVID", reference=reference) as answers:
                    next(answers)

        assert status(ask) is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("kind", ["jwt", "x509"])
def test_what_is_made_while_its_process_ends_is_not_handed_out(
    house: House, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    svids = house.plane.plane.spiffe.svids
    make: Any = getattr(svids, kind)
    house.svid()
    with workload() as process, house.channel(house.svid()) as channel:

        async def ended_meanwhile(*arguments: Any, **named: Any) -> Any:
            made = await make(*arguments, **named)
            process.kill()
            process.wait()
            return made

        monkeypatch.setattr(svids, kind, ended_meanwhile)
        reference = packed(process.pid)

        def ask() -> None:
            if kind == "jwt":
                fetch(channel, reference=reference)
            else:
                with subscribe(channel, "X509SVID", reference=reference) as answers:
                    next(answers)

        assert status(ask) is grpc.StatusCode.NOT_FOUND


def test_a_stream_ends_when_its_workload_is_disabled(house: House) -> None:
    with (
        workload() as process,
        house.channel(house.svid()) as channel,
        subscribe(channel, "X509SVID", reference=packed(process.pid)) as answers,
    ):
        next(answers)
        plane = house.plane.plane
        house.plane.do(lambda: plane.inventory.disable(TRIAGE, AUTHOR))
        house.plane.do(plane.spiffe.sweep)
        assert status(lambda: next(answers)) is grpc.StatusCode.PERMISSION_DENIED


def test_a_connection_ends_with_the_authority_that_signed_for_it(house: House) -> None:
    spiffe: Any = house.plane.plane.spiffe

    class Without:
        """The bundles, once a stolen authority is taken out of ours."""

        def bundle(self, trust_domain: str) -> TrustBundle | None:
            bundle: TrustBundle = spiffe.bundles.bundle(trust_domain)
            return msgspec.structs.replace(bundle, x509_authorities=())

    async def taken_out() -> None:
        spiffe.callers._bundles = Without()
        spiffe.api.changes.tell()

    with workload() as process, house.channel(house.svid()) as channel:
        reference = packed(process.pid)
        with subscribe(channel, "X509SVID", reference=reference) as answers:
            next(answers)
            house.plane.do(taken_out)
            assert status(lambda: next(answers)) is grpc.StatusCode.UNAUTHENTICATED
        again = status(lambda: fetch(channel, reference=reference))
        assert again is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("protocol", ["http/1.1", "none"])
def test_another_protocol_than_http_2_is_not_spoken(house: House, protocol: str) -> None:
    context = house.context(house.svid())
    context.set_alpn_protocols([] if protocol == "none" else [protocol])
    answered = b""
    try:
        with house.connect(house.svid(), context) as connection:
            assert connection.selected_alpn_protocol() is None
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))
            answered = connection.recv(9)
    except (ssl.SSLError, ConnectionError):
        pass
    assert answered == b""
