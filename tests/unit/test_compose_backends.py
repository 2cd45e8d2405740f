"""Which kind of credential gets which backend, and what signs for it."""

from __future__ import annotations

from typing import Any

import pytest
from backend_kit import setup
from credential_kit import MARKER, credential

from midflight.adapters.clock import SystemClock
from midflight.adapters.credentials.dpop_proofs import KEY_FIELD, DpopKey, DpopSigner
from midflight.adapters.credentials.sigv4 import SigV4Signer
from midflight.adapters.upstream.placing import TakesNonce
from midflight.apps.compose_backends import RequestSigners, backend_makers
from midflight.apps.compose_broker import MAKERS
from midflight.domain.errors import Misconfigured
from midflight.domain.lease import Placement, Secret

AWS: dict[str, Any] = {
    "role_arn": "arn:aws:iam::123456789012:role/reports",
    "region": "eu-central-1",
    "service": "sqs",
    "access_key_id": "env:KEY",
    "secret_access_key": "env:SECRET",
}
SCOPES = ("sqs:SendMessage@*",)
KEYS = {"access_key_id": "AKID", "secret_access_key": MARKER, "session_token": "t"}


def test_every_kind_has_a_maker_that_refuses_settings_it_does_not_know() -> None:
    made = backend_makers()
    assert made.keys() == {"aws", "github_app", "oauth", "openbao", "ssh"}
    assert made.keys() | {"decoy", "postgres", "sealed"} == MAKERS.keys()
    for kind, maker in made.items():
        with pytest.raises(Misconfigured) as refused:
            maker(setup(credential(kind, {"no_such_setting": MARKER})))
        assert "no_such_setting" in str(refused.value)
        assert MARKER not in str(refused.value)


def test_requests_are_signed_with_what_the_credential_is_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    signers = RequestSigners(clock=SystemClock())
    signer = signers(credential("aws", AWS, scopes=SCOPES), Placement.SIGV4, Secret(fields=KEYS))
    assert isinstance(signer, SigV4Signer)
    signed = dict(signer.sign("POST", "https://sqs.example/", [], b"{}"))
    assert "/eu-central-1/sqs/aws4_request" in signed["Authorization"]
    assert MARKER not in caplog.text
    assert "Signature" not in caplog.text
    key = DpopKey.fresh(clock=SystemClock())
    bound = Secret(fields={"token": "t", KEY_FIELD: key.private_jwk()})
    signer = signers(credential("oauth", {}), Placement.DPOP, bound)
    assert isinstance(signer, DpopSigner)
    assert isinstance(signer, TakesNonce)  # or no upstream that wants one could be used


@pytest.mark.parametrize(
    ("kind", "settings", "placement", "fields"),
    [
        ("oauth", {}, Placement.SIGV4, {"token": "t"}),
        ("oauth", {}, Placement.DPOP, {"token": "t"}),
        ("aws", AWS, Placement.HEADER, KEYS),
        ("aws", AWS, Placement.SIGV4, {"token": "t"}),
        ("aws", {**AWS, "service": ""}, Placement.SIGV4, KEYS),
    ],
)
def test_what_cannot_sign_is_refused(
    kind: str, settings: dict[str, Any], placement: Placement, fields: dict[str, str]
) -> None:
    source = credential(kind, settings, scopes=SCOPES)
    with pytest.raises(Misconfigured):
        RequestSigners(clock=SystemClock())(source, placement, Secret(fields=fields))
