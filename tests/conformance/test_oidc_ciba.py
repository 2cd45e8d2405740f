"""People answer on their devices, by an OpenID provider that others wrote (npm `oidc-provider`).

Poll mode of OpenID CIBA Core 1.0, with a secret and with a signed assertion of the client.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from approver_kit import OPERATOR, Approving, approving
from counterpart_kit import free_port, stop

from conformance.official_suite import HERE, NODE
from midflight.domain.approval import binding_code
from midflight.domain.records import ApprovalAnswered
from midflight.services.backchannel import Backchannel
from midflight.services.guard import Performed

pytestmark = [pytest.mark.anyio, pytest.mark.conformance, pytest.mark.oidc_provider]

CLIENT = "midflight-approvals"
SECRET = "a secret that only this test has, and long enough"
PEOPLE = {
    name: {"login_hint": name, "subject": f"sub-of-{name}"} for name in ("ada", "bob", "carol")
}


class Provider:
    def __init__(self, issuer: str) -> None:
        self.issuer = issuer

    def asked(self) -> list[dict[str, str]]:
        found = httpx2.get(f"{self.issuer}/device", trust_env=False)
        return list(json.loads(found.text))

    def say(self, number: int, word: str) -> None:
        done = httpx2.post(
            f"{self.issuer}/device",
            params={"id": self.asked()[number]["id"], "say": word},
            trust_env=False,
        )
        assert done.status_code == 200, done.text


@contextlib.contextmanager
def provider(port: int, **client: Any) -> Generator[Provider]:
    process = subprocess.Popen(
        [NODE, HERE / "oidc_ciba_provider.mjs"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"PATH": str(NODE.parent), "NO_COLOR": "1"},
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    told = {
        "client_id": CLIENT,
        "redirect_uris": [],
        "response_types": [],
        "grant_types": ["urn:openid:params:grant-type:ciba"],
        "backchannel_token_delivery_mode": "poll",
        **client,
    }
    try:
        process.stdin.write(json.dumps({"port": port, "clients": [told]}).encode() + b"\n")
        process.stdin.flush()
        issuer = process.stdout.readline().decode().strip()
        assert issuer, "the provider has ended"
        yield Provider(issuer)
    finally:
        process.stdin.close()
        process.stdout.close()
        stop(process)


def with_secret(monkeypatch: pytest.MonkeyPatch, port: int) -> dict[str, Any]:
    monkeypatch.setenv("CIBA_SECRET", SECRET)
    ciba = {
        "issuer": f"http://127.0.0.1:{port}",
        "client_id": CLIENT,
        "client_secret": "env:CIBA_SECRET",
        "people": PEOPLE,
    }
    return {"approvals": {"ciba": ciba}}


def backchannel(served: Approving) -> Backchannel:
    found = served.plane.approvers.backchannel
    assert found is not None
    return found


async def ticked(served: Approving, *, seconds: float = 6.0) -> None:
    """One round of asking and polling, once the interval is over."""
    served.clock.leap(seconds)
    await backchannel(served).tick()


async def test_a_yes_on_a_device_is_that_persons_for_that_very_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    async with approving(tmp_path, **with_secret(monkeypatch, port)) as served:
        await served.accounts.add("ada", OPERATOR, groups=["team-one"])
        with provider(port, client_secret=SECRET) as outside:
            run = await served.run()
            approval = await served.ask(run, to="bob@x.org")
            await backchannel(served).tick()
            # Only who may answer is asked, and told the code that stands on the page.
            (asked,) = outside.asked()
            digest = (await served.desk.show(approval)).digest
            assert asked["account"] == "sub-of-ada"
            assert asked["said"] == binding_code(approval, digest)
            await ticked(served)
            assert (await served.desk.show(approval)).state.value == "pending"
            outside.say(0, "yes")
            await ticked(served)
            assert (await served.desk.show(approval)).state.value == "approved"
            assert isinstance(await served.act(run, to="bob@x.org"), Performed)
            (record,) = await served.records(ApprovalAnswered)
            assert (record.author, record.proof) == ("ada", f"ciba:{outside.issuer}")
            assert (record.digest, record.stands_for) == (digest, ("owner",))
            assert await served.plane.parts.store.list_backchannel() == []


async def test_a_no_on_a_device_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    async with approving(tmp_path, **with_secret(monkeypatch, port)) as served:
        await served.accounts.add("ada", OPERATOR, groups=["team-one"])
        with provider(port, client_secret=SECRET) as outside:
            approval = await served.ask()
            await backchannel(served).tick()
            outside.say(0, "no")
            await ticked(served)
            assert (await served.desk.show(approval)).state.value == "refused"


async def test_two_people_agree_on_two_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    more = with_secret(monkeypatch, port)
    async with approving(tmp_path, approvers="owner, security", **more) as served:
        await served.accounts.add("ada", OPERATOR, groups=["team-one", "security"])
        await served.accounts.add("bob", OPERATOR, groups=["security"])
        with provider(port, client_secret=SECRET) as outside:
            approval = await served.ask()
            await backchannel(served).tick()
            assert [each["account"] for each in outside.asked()] == ["sub-of-ada", "sub-of-bob"]
            outside.say(0, "yes")
            await ticked(served)
            assert (await served.desk.show(approval)).missing == ("security",)
            outside.say(1, "yes")
            await ticked(served)
            assert (await served.desk.show(approval)).state.value == "approved"


async def test_the_client_proves_itself_with_a_key_of_its_own(tmp_path: Path) -> None:
    port = free_port()
    ciba = {"issuer": f"http://127.0.0.1:{port}", "client_id": CLIENT, "people": PEOPLE}
    async with approving(tmp_path, approvals={"ciba": ciba}) as served:
        await served.accounts.add("ada", OPERATOR, groups=["team-one"])
        published = json.loads((await served.browser().get("/.well-known/jwks.json")).text)
        keys = [{**key, "use": "sig"} for key in published["keys"]]
        with provider(
            port, token_endpoint_auth_method="private_key_jwt", jwks={"keys": keys}
        ) as outside:
            approval = await served.ask()
            await backchannel(served).tick()
            outside.say(0, "yes")
            await ticked(served)
            assert (await served.desk.show(approval)).state.value == "approved"


async def test_a_question_on_its_way_survives_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, own = free_port(), free_port()
    with provider(port, client_secret=SECRET) as outside:
        async with approving(tmp_path, port=own, **with_secret(monkeypatch, port)) as served:
            await served.accounts.add("ada", OPERATOR, groups=["team-one"])
            run = await served.run()
            first = await served.ask(run, to="bob@x.org")
            await backchannel(served).tick()
            # The second one was filed and nobody was asked when it stopped.
            second = await served.ask(run, to="carol@x.org")
        outside.say(0, "yes")
        async with approving(tmp_path, port=own, **with_secret(monkeypatch, port)) as served:
            await ticked(served)
            assert len(outside.asked()) == 2
            assert (await served.desk.show(first)).state.value == "approved"
            outside.say(1, "no")
            await ticked(served)
            assert (await served.desk.show(second)).state.value == "refused"


async def test_nothing_is_asked_any_more_once_it_is_answered_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    async with approving(tmp_path, **with_secret(monkeypatch, port)) as served:
        ada = await served.person("ada", "team-one")
        with provider(port, client_secret=SECRET) as outside:
            approval = await served.ask()
            await backchannel(served).tick()
            await ada.browser.answer(approval, "no")
            outside.say(0, "yes")
            await ticked(served)
            assert (await served.desk.show(approval)).state.value == "refused"
            assert await served.plane.parts.store.list_backchannel() == []
            assert len(await served.records(ApprovalAnswered)) == 1
