"""Streams of the Workload API and the Broker API are in flight: shown, counted, cut."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from broker_kit import AUTHOR, PROXY, broker_house, packed, subscribe, workload
from spiffe_kit import REPORTS, TRIAGE, ServedApi, served

from midflight.apps.workload_api.descriptors import SERVICE, messages
from midflight.domain.revocation import Scope, ScopeKind

HEADER = (("workload.spiffe.io", "true"),)
METHODS = {
    "FetchX509SVID": ("X509SVID", "x509-svid"),
    "FetchX509Bundles": ("X509Bundles", "bundles"),
    "FetchJWTBundles": ("JWTBundles", "bundles"),
}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ServedApi]:
    with served(tmp_path) as one:
        for name in (TRIAGE, REPORTS):
            one.do(lambda name=name: one.mint.register(name, uid=os.geteuid()))
        yield one


@contextmanager
def following(api: ServedApi, method: str) -> Iterator[Any]:
    made, (name, _) = messages(), METHODS[method]
    with grpc.insecure_channel(f"unix:{api.socket}") as channel:
        call = channel.unary_stream(
            f"/{SERVICE}/{method}",
            request_serializer=made[f"{name}Request"].SerializeToString,
            response_deserializer=made[f"{name}Response"].FromString,
        )
        answers = call(made[f"{name}Request"](), metadata=HEADER, timeout=30)
        try:
            yield answers
        finally:
            answers.cancel()


def flights(api: ServedApi) -> list[tuple[str, str, str]]:
    async def found() -> list[tuple[str, str, str]]:
        return sorted((f.kind, f.workload, f.name) for f in api.mint.interruption.flights())

    return api.do(found)


def scope(name: str) -> Scope:
    return Scope(kind=ScopeKind.WORKLOAD, id=name)


@pytest.mark.parametrize("method", METHODS)
def test_each_workload_of_a_stream_is_shown_and_cut_by_itself(api: ServedApi, method: str) -> None:
    name = METHODS[method][1]
    interruption = api.mint.interruption

    async def revoke(workload: str) -> Any:
        seen = interruption.preview(scope(workload))
        receipt = await interruption.revoke(scope(workload), reason="stolen", author=AUTHOR)
        assert seen.kinds == receipt.impact.kinds
        return receipt

    with following(api, method) as answers:
        next(answers)
        assert flights(api) == [("stream", each, name) for each in sorted((TRIAGE, REPORTS))]
        receipt = api.do(lambda: revoke(TRIAGE))
        assert receipt.impact.kinds == {"stream": 1}
        if method == "FetchX509SVID":
            assert [svid.spiffe_id for svid in next(answers).svids] == [REPORTS]
        while len(flights(api)) == 2:
            pass
        assert flights(api) == [("stream", REPORTS, name)]
        # Lifted it is supplied again.
        api.do(lambda: interruption.lift(receipt.revocation.id, reason="well", author=AUTHOR))
        api.tell()
        while len(flights(api)) == 1:
            pass
        for each in (TRIAGE, REPORTS):
            assert api.do(lambda each=each: revoke(each)).impact.kinds == {"stream": 1}
        with pytest.raises(grpc.RpcError) as ended:
            list(answers)
        assert ended.value.code() is grpc.StatusCode.PERMISSION_DENIED  # type: ignore[attr-defined]
        assert flights(api) == []


def test_a_client_that_goes_leaves_no_flight(api: ServedApi) -> None:
    with following(api, "FetchX509SVID") as answers:
        next(answers)
        assert len(flights(api)) == 2
    while flights(api):
        pass


@pytest.mark.parametrize("kind", [ScopeKind.WORKLOAD, ScopeKind.TOKEN, ScopeKind.OWNER])
def test_what_a_broker_follows_is_cut_with_the_broker(tmp_path: Path, kind: ScopeKind) -> None:
    with broker_house(tmp_path) as house, workload() as process:
        svid = house.svid()
        with (
            house.channel(svid) as channel,
            subscribe(channel, "X509SVID", reference=packed(process.pid)) as answers,
        ):
            next(answers)
            plane = house.plane.plane

            async def revoke() -> tuple[Any, Any]:
                (flight,) = plane.interruption.flights()
                owner = plane.inventory.current(PROXY).owner
                named = {
                    ScopeKind.WORKLOAD: PROXY,
                    ScopeKind.TOKEN: svid.serial,
                    ScopeKind.OWNER: owner,
                }
                stolen = Scope(kind=kind, id=named[kind])
                return flight, await plane.interruption.revoke(
                    stolen, reason="stolen", author=AUTHOR
                )

            flight, receipt = house.plane.do(revoke)
            assert flight.name == f"x509-svid to {PROXY}"
            assert receipt.impact.kinds == {"stream": 1}
            with pytest.raises(grpc.RpcError) as ended:
                next(answers)
            assert ended.value.code() is grpc.StatusCode.PERMISSION_DENIED  # type: ignore[attr-defined]
