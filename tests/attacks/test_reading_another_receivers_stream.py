"""A receiver sees, changes, verifies and polls its own streams; another's are not there for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ssf_kit import SIEM, receiver, revoke, transmitter

from gateways import AGENT
from midflight.domain.revocation import ScopeKind

pytestmark = pytest.mark.anyio


async def test_another_receivers_stream_is_not_there(tmp_path: Path) -> None:
    async with transmitter(tmp_path) as server:
        soc = await (await receiver(server)).log_in()
        siem = await (await receiver(server, "siem", SIEM)).log_in()
        made = await soc.create()
        name, poll = made["stream_id"], made["delivery"]["endpoint_url"]
        await revoke(server, ScopeKind.WORKLOAD, AGENT)
        (jti,) = await soc.poll(made)
        subject = {"format": "email", "email": "a@example.org"}
        attempts: list[tuple[str, str, dict[str, Any] | None]] = [
            ("GET", f"/ssf/stream?stream_id={name}", None),
            ("GET", f"/ssf/status?stream_id={name}", None),
            ("PATCH", "/ssf/stream", {"stream_id": name, "description": "mine"}),
            ("PUT", "/ssf/stream", {"stream_id": name}),
            ("POST", "/ssf/status", {"stream_id": name, "status": "disabled"}),
            ("POST", "/ssf/verify", {"stream_id": name}),
            ("POST", "/ssf/subjects/add", {"stream_id": name, "subject": subject}),
            ("POST", "/ssf/subjects/remove", {"stream_id": name, "subject": subject}),
            ("POST", poll, {"returnImmediately": True}),
            ("POST", poll, {"ack": [jti], "maxEvents": 0}),
            ("DELETE", f"/ssf/stream?stream_id={name}", None),
        ]
        for method, path, body in attempts:
            more = {} if body is None else {"json": body}
            answer = await siem.call(method, path, **more)
            assert answer.status_code == 404, (method, path)
            unknown = await siem.call(
                method, path.replace(name, "str_none"),
                **({} if body is None else {"json": {**body, "stream_id": "str_none"}}),
            )  # fmt: skip
            # Nothing tells a stream of somebody else from one that never was.
            assert unknown.content == answer.content
        assert (await siem.call("GET", "/ssf/stream")).json() == []
        assert (await soc.call("GET", "/ssf/stream")).json() == [made]
        assert list(await soc.poll(made)) == [jti]
        status = await soc.call("GET", f"/ssf/status?stream_id={name}")
        assert status.json()["status"] == "enabled"


async def test_each_receiver_gets_a_set_of_its_own(tmp_path: Path) -> None:
    async with transmitter(tmp_path) as server:
        soc = await (await receiver(server)).log_in()
        siem = await (await receiver(server, "siem", SIEM)).log_in()
        streams = await soc.create(), await siem.create()
        revocation = await revoke(server, ScopeKind.WORKLOAD, AGENT)
        ((_, one),) = (await soc.poll(streams[0])).items()
        ((_, two),) = (await siem.poll(streams[1])).items()
        first, second = await soc.verified(one), await siem.verified(two)
        assert (first["aud"], second["aud"]) == ("soc", "siem")
        assert first["jti"] != second["jti"]
        assert first["txn"] == second["txn"] == revocation


async def test_two_clients_of_one_workload_are_two_receivers(tmp_path: Path) -> None:
    async with transmitter(tmp_path) as server:
        soc = await (await receiver(server)).log_in()
        twin = await (await receiver(server, "twin")).log_in()
        made = await soc.create()
        assert (await twin.call("GET", "/ssf/stream")).json() == []
        where = f"/ssf/stream?stream_id={made['stream_id']}"
        assert (await twin.call("GET", where)).status_code == 404
