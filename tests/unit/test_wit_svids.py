"""WIT-SVIDs: issued over the Workload API where that is on, and bound to a key of their own."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import jwt as pyjwt
import pytest
from spiffe_kit import AUTHOR, OTHER_DOMAIN, REPORTS, TRIAGE, ServedApi, served

from midflight.apps.workload_api.descriptors import messages
from midflight.domain.attestation import Entry
from midflight.domain.errors import Malformed, Unavailable
from midflight.domain.revocation import Scope, ScopeKind
from midflight.wire.spiffe import decode_bundle, encode_bundle

HEADER = (("workload.spiffe.io", "true"),)
CLASSES = messages()
ENTRY = Entry(id="entry_test", spiffe_id=TRIAGE, selectors=frozenset())


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ServedApi]:
    with served(tmp_path, wit=True) as one:
        one.do(lambda: one.mint.register(uid=os.geteuid()))
        yield one


@contextlib.contextmanager
def stream(api: ServedApi, name: str, **fields: Any) -> Iterator[Any]:
    """The answers of a `Fetch` call."""
    with grpc.insecure_channel(f"unix:{api.socket}") as channel:
        method = channel.unary_stream(
            f"/SpiffeWorkloadAPI/Fetch{name}",
            request_serializer=CLASSES[f"{name}Request"].SerializeToString,
            response_deserializer=CLASSES[f"{name}Response"].FromString,
        )
        answers = method(CLASSES[f"{name}Request"](**fields), metadata=HEADER, timeout=30)
        yield answers
        answers.cancel()


def first(api: ServedApi, name: str, **fields: Any) -> Any:
    with stream(api, name, **fields) as answers:
        return next(answers)


def status(api: ServedApi, name: str, **fields: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as refused:
        first(api, name, **fields)
    return refused.value.code()  # type: ignore[attr-defined] # of grpc's own making


def verified(text: str, keys: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, by an independent verifier and the keys of the bundle."""
    header = pyjwt.get_unverified_header(text)
    (jwk,) = [key for key in json.loads(keys)["keys"] if key["kid"] == header["kid"]]
    claims = pyjwt.decode(
        text, pyjwt.PyJWK(jwk), algorithms=["ES256"], options={"require": ["sub", "exp"]}
    )
    return header, claims


def test_a_wit_svid_verifies_by_the_wit_bundle_and_its_key_is_the_one_it_names(
    api: ServedApi,
) -> None:
    (svid,) = first(api, "WITSVID").svids
    bundles = first(api, "WITBundles").bundles
    assert (svid.spiffe_id, list(bundles)) == (TRIAGE, ["spiffe://example.test"])

    header, claims = verified(svid.wit_svid, bundles["spiffe://example.test"])
    assert header == {"alg": "ES256", "typ": "wit+jwt", "kid": header["kid"]}
    assert claims["sub"] == TRIAGE
    assert "aud" not in claims
    assert "iss" not in claims
    assert 0 < claims["exp"] - api.mint.clock.now() <= 3_600

    key = json.loads(svid.wit_svid_key)
    assert claims["cnf"]["jwk"] == {name: key[name] for name in key if name != "d"}
    assert claims["cnf"]["jwk"]["alg"] == "ES256"
    proof = pyjwt.encode({"jti": "1"}, pyjwt.PyJWK(key).key, algorithm="ES256")
    assert pyjwt.decode(proof, pyjwt.PyJWK(claims["cnf"]["jwk"]), algorithms=["ES256"])


def test_what_is_issued_is_recorded_without_its_key(api: ServedApi) -> None:
    (svid,) = first(api, "WITSVID").svids
    (record,) = api.mint.issued()
    _, claims = verified(svid.wit_svid, first(api, "WITBundles").bundles["spiffe://example.test"])
    assert (record.what, record.id, record.subject) == ("wit-svid", claims["jti"], TRIAGE)
    for secret in (svid.wit_svid, json.loads(svid.wit_svid_key)["d"]):
        assert secret not in repr(api.mint.recorder.records)


def test_wit_keys_are_in_the_bundle_under_their_own_use_and_sign_nothing_else(
    api: ServedApi,
) -> None:
    by_use: dict[str, set[str]] = {}
    for key in json.loads(encode_bundle(api.mint.bundles.own))["keys"]:
        if "kid" in key:
            by_use.setdefault(key["use"], set()).add(key["kid"])
    assert by_use.keys() == {"jwt-svid", "wit-svid"}
    assert not by_use["jwt-svid"] & by_use["wit-svid"]
    keys = json.loads(first(api, "WITBundles").bundles["spiffe://example.test"])["keys"]
    assert {key["kid"] for key in keys} == by_use["wit-svid"]
    assert all("d" not in key for key in keys)
    own = api.mint.bundles.own
    assert decode_bundle(encode_bundle(own), trust_domain=own.trust_domain) == own


def test_the_stream_brings_a_new_key_at_half_of_its_life_and_ends_on_revocation(
    api: ServedApi,
) -> None:
    with stream(api, "WITSVID") as answers:
        (before,) = next(answers).svids
        api.mint.clock.advance(1_900)
        api.tell()
        (after,) = next(answers).svids
        assert after.wit_svid != before.wit_svid
        assert json.loads(after.wit_svid_key)["d"] != json.loads(before.wit_svid_key)["d"]
        revoked = Scope(kind=ScopeKind.WORKLOAD, id=TRIAGE)
        api.do(lambda: api.mint.interruption.revoke(revoked, reason="stolen", author=AUTHOR))
        with pytest.raises(grpc.RpcError) as ended:
            next(answers)
    assert ended.value.code() is grpc.StatusCode.PERMISSION_DENIED  # type: ignore[attr-defined] # of grpc's own making


def test_a_bundle_that_changes_renews_no_wit_svid(api: ServedApi) -> None:
    with stream(api, "WITSVID") as answers, stream(api, "WITBundles") as bundles:
        next(answers)
        known = json.loads(next(bundles).bundles["spiffe://example.test"])["keys"]
        assert api.mint.wit_signer is not None
        api.mint.wit_signer.announce()
        api.do(api.mint.bundles.refresh)
        assert len(json.loads(next(bundles).bundles["spiffe://example.test"])["keys"]) == 1 + len(
            known
        )
    assert len(api.mint.issued()) == 1


def test_one_identity_may_be_asked_for_and_others_are_refused(api: ServedApi) -> None:
    api.do(lambda: api.mint.register(REPORTS, uid=os.geteuid() + 1))
    assert [svid.spiffe_id for svid in first(api, "WITSVID", spiffe_id=TRIAGE).svids] == [TRIAGE]
    assert status(api, "WITSVID", spiffe_id=REPORTS) is grpc.StatusCode.PERMISSION_DENIED
    assert status(api, "WITSVID", spiffe_id="triage") is grpc.StatusCode.INVALID_ARGUMENT


def test_bundles_of_federated_trust_domains_are_told_too(tmp_path: Path) -> None:
    with served(tmp_path / "theirs", wit=True, domain=OTHER_DOMAIN) as theirs:
        raw = encode_bundle(theirs.mint.bundles.own)
    with served(
        tmp_path / "ours", wit=True, federated={OTHER_DOMAIN: raw}, federates_with=[OTHER_DOMAIN]
    ) as ours:
        ours.do(lambda: ours.mint.register(uid=os.geteuid()))
        bundles = first(ours, "WITBundles").bundles
        assert json.loads(bundles[f"spiffe://{OTHER_DOMAIN}"])["keys"]


def test_where_it_is_off_its_calls_are_unimplemented_and_the_bundle_has_no_such_key(
    tmp_path: Path,
) -> None:
    with served(tmp_path) as api:
        api.do(lambda: api.mint.register(uid=os.geteuid()))
        assert status(api, "WITSVID") is grpc.StatusCode.UNIMPLEMENTED
        assert status(api, "WITBundles") is grpc.StatusCode.UNIMPLEMENTED
        assert b"wit-svid" not in encode_bundle(api.mint.bundles.own)
        with pytest.raises(Unavailable, match="experimental"):
            api.do(lambda: api.mint.svids.wit(ENTRY, proof="test"))


def test_a_wit_key_of_others_that_cannot_be_read_does_not_cost_their_bundle(api: ServedApi) -> None:
    own = json.loads(encode_bundle(api.mint.bundles.own))
    (wit,) = [key for key in own["keys"] if key["use"] == "wit-svid"]
    for broken in ({**wit, "x": "!"}, {**wit, "kty": "OKP"}, {**wit, "kid": None}):
        keys = [key for key in own["keys"] if key["use"] != "wit-svid"] + [broken]
        read = decode_bundle(json.dumps({**own, "keys": keys}).encode(), trust_domain="e.x")
        assert (read.wit_authorities, len(read.jwt_authorities)) == ((), 1)


def test_keys_of_two_uses_may_not_share_a_kid(api: ServedApi) -> None:
    own = json.loads(encode_bundle(api.mint.bundles.own))
    (wit,) = [key for key in own["keys"] if key["use"] == "wit-svid"]
    (jwt,) = [key for key in own["keys"] if key["use"] == "jwt-svid"]
    own["keys"].append({**wit, "kid": jwt["kid"]})
    with pytest.raises(Malformed, match="same kid"):
        decode_bundle(json.dumps(own).encode(), trust_domain="e.x")
