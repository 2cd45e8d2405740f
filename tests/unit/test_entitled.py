"""What a process is entitled to, where the right to ask for it ends while it is being made."""

from __future__ import annotations

import os
from pathlib import Path

import grpc
import pytest
from spiffe_kit import TRIAGE, ByUid, Mint

from midflight.apps.workload_api.changes import Changes
from midflight.apps.workload_api.entitled import Asked, Entitled
from midflight.apps.workload_api.refused import Refused
from midflight.domain.attestation import Process
from midflight.services.registration import Registration

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("kind", ["x509", "wit", "jwt"])
async def test_who_may_ask_no_more_when_it_is_signed_gets_nothing(
    tmp_path: Path, kind: str
) -> None:
    mint = Mint(tmp_path, wit=True)
    await mint.start()
    registration = Registration(
        store=mint.store,
        recorder=mint.recorder,
        clock=mint.clock,
        inventory=mint.inventory,
        interruption=mint.interruption,
    )
    await registration.start()
    await mint.register(uid=os.geteuid())
    entitled = Entitled(
        trust_domain=mint.domain,
        attestation=ByUid(registration),
        svids=mint.svids,
        bundles=mint.bundles,
        changes=Changes(),
    )
    lasts = True

    def still() -> None:
        if not lasts and mint.issued():
            raise Refused(grpc.StatusCode.NOT_FOUND, "There is no such process.")

    async def ask() -> Asked:
        process = Process(pid=os.getpid(), uid=os.geteuid(), gid=os.getegid(), start="1@1")
        attested = await ByUid(registration).attest(process)
        return Asked(attested, "broker", only=frozenset({TRIAGE}), still=still)

    async def given() -> str:
        if kind == "jwt":
            return (await entitled.jwt(ask, ["somebody"]))[0].spiffe_id
        if kind == "wit":
            return (await anext(entitled.wit(ask)))[0].spiffe_id
        return (await anext(entitled.x509(ask)))[0][0].spiffe_id

    assert await given() == TRIAGE
    mint.recorder.records.clear()
    lasts = False
    with pytest.raises(Refused, match="no such process"):
        await given()
    assert len(mint.issued()) == 1  # made and recorded, and not given
