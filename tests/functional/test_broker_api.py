"""The SPIFFE Broker API of a real plane: real processes, mutual TLS, streams that end in time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import jwt as pyjwt
import pytest
from broker_kit import (
    AUTHOR,
    DOMAIN,
    ENDPOINT,
    HEADER,
    PROXY,
    TRIAGE,
    House,
    broker_house,
    fetch,
    packed,
    subscribe,
    workload,
)
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_der_private_key

from midflight.apps.settings import load
from midflight.domain.errors import Misconfigured
from midflight.domain.revocation import Scope, ScopeKind


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with broker_house(tmp_path_factory.mktemp("broker")) as made:
        yield made


def code(error: Any) -> grpc.StatusCode:
    return error.value.code()  # type: ignore[no-any-return] # of grpc's own making


def test_a_broker_gets_the_identity_of_a_process_it_refers_to(house: House) -> None:
    with workload() as process, house.channel(house.svid()) as channel:
        with subscribe(channel, "X509SVID", reference=packed(process.pid)) as answers:
            answer = next(answers)
        (svid,) = answer.svids
        # Certificates stand one after the other; the length of the first is in its head.
        end = 4 + int.from_bytes(svid.x509_svid[2:4])
        leaf = x509.load_der_x509_certificate(svid.x509_svid[:end])
        key = load_der_private_key(svid.x509_svid_key, None)
        assert key.public_key() == leaf.public_key()
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert [name.value for name in names] == [svid.spiffe_id] == [TRIAGE]
        assert x509.load_der_x509_certificate(svid.bundle)

        (token,) = fetch(channel, reference=packed(process.pid)).svids
        assert pyjwt.decode(token.svid, options={"verify_signature": False})["sub"] == TRIAGE

        for name in ("X509Bundles", "JWTBundles"):
            with subscribe(channel, name, reference=packed(process.pid)) as answers:
                assert list(next(answers).bundles) == [f"spiffe://{DOMAIN}"]


def test_what_a_broker_gets_is_recorded_with_the_broker_and_the_process(house: House) -> None:
    with workload() as process, house.channel(house.svid()) as channel:
        fetch(channel, reference=packed(process.pid))
        last = house.plane.records("issued")[-1]
    assert (last["what"], last["subject"]) == ("jwt-svid", TRIAGE)
    assert last["proof"].startswith(f"broker:{PROXY} unix:{process.pid}@")
    own = [record for record in house.plane.records("issued") if record["subject"] == ENDPOINT]
    assert [record["proof"] for record in own] == ["own"]


def test_a_stream_ends_with_its_process(house: House) -> None:
    with workload() as process, house.channel(house.svid()) as channel:
        with subscribe(channel, "X509SVID", reference=packed(process.pid)) as answers:
            next(answers)
            process.kill()
            process.wait()
            with pytest.raises(grpc.RpcError) as ended:
                next(answers)
        assert code(ended) is grpc.StatusCode.NOT_FOUND
        # The connection serves other processes on (§4.3).
        with workload() as other:
            assert fetch(channel, reference=packed(other.pid)).svids


def test_a_stream_ends_when_its_workload_is_revoked(tmp_path: Path) -> None:
    with (
        broker_house(tmp_path) as house,
        workload() as process,
        house.channel(house.svid()) as channel,
        subscribe(channel, "X509SVID", reference=packed(process.pid)) as answers,
    ):
        next(answers)
        _revoke(house, Scope(kind=ScopeKind.WORKLOAD, id=TRIAGE))
        with pytest.raises(grpc.RpcError) as ended:
            next(answers)
        assert code(ended) is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("what", ["workload", "certificate"])
def test_a_broker_that_is_revoked_loses_its_streams(tmp_path: Path, what: str) -> None:
    with broker_house(tmp_path) as house, workload() as process:
        svid = house.svid()
        with (
            house.channel(svid) as channel,
            subscribe(channel, "X509SVID", reference=packed(process.pid)) as answers,
        ):
            next(answers)
            scope = Scope(kind=ScopeKind.WORKLOAD, id=PROXY)
            if what == "certificate":
                scope = Scope(kind=ScopeKind.TOKEN, id=svid.serial)
            _revoke(house, scope)
            with pytest.raises(grpc.RpcError) as ended:
                next(answers)
            assert code(ended) is grpc.StatusCode.PERMISSION_DENIED
            with pytest.raises(grpc.RpcError) as refused:
                fetch(channel, reference=packed(process.pid))
            assert code(refused) is grpc.StatusCode.PERMISSION_DENIED


def test_the_security_header_is_needed(house: House) -> None:
    with workload() as process, house.channel(house.svid()) as channel:
        for metadata in ((), (("broker.spiffe.io", "True"),), (HEADER[0], HEADER[0])):
            with pytest.raises(grpc.RpcError) as refused:
                fetch(channel, metadata=metadata, reference=packed(process.pid))
            assert code(refused) is grpc.StatusCode.INVALID_ARGUMENT


def test_brokers_are_named_in_the_settings_and_only_experimentally(tmp_path: Path) -> None:
    grant = f'grants = [{{ broker = "{PROXY}", workloads = ["{TRIAGE}"] }}]'
    other = grant.replace(DOMAIN, "partner.example")
    for text, why in (
        (f"[spiffe.broker]\n{grant}\n", "experimental"),
        ("[spiffe]\nexperimental = true\n[spiffe.broker]\ngrants = []\n", "grants"),
        (f"[spiffe]\nexperimental = true\n[spiffe.broker]\n{other}\n", "trust domain"),
        (
            "[spiffe]\nexperimental = true\n[spiffe.broker]\n"
            + grant.replace(f'["{TRIAGE}"]', "[]"),
            "workloads",
        ),
    ):
        config = tmp_path / "midflight.toml"
        config.write_text(text + '\n[[upstream]]\nname = "desk"\ncommand = "true"\n', "utf-8")
        with pytest.raises(Misconfigured) as refused:
            load(config)
        assert why in str(refused.value) + " ".join(refused.value.problems)


def _revoke(house: House, scope: Scope) -> None:
    house.plane.do(
        lambda: house.plane.plane.interruption.revoke(scope, reason="stolen", author=AUTHOR)
    )
