"""The script of the approval page: what it asks an authenticator, and what it sends."""

from __future__ import annotations

import json
import subprocess
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from approver_kit import Form, approving, device, with_passkey
from oidc_provider_kit import NODE

pytestmark = pytest.mark.anyio

HARNESS = Path(__file__).parents[1] / "kit" / "passkey_page.mjs"
SCRIPT = resources.files("midflight.apps.approve").joinpath("static/passkey.js").read_text("utf-8")


def played(**told: Any) -> dict[str, Any]:
    done = subprocess.run(
        [NODE, HARNESS],
        input=json.dumps({"script": SCRIPT, **told}),
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": str(NODE.parent)},
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def test_what_an_authenticator_says_reaches_the_server_and_counts(tmp_path: Path) -> None:
    async with approving(tmp_path) as served:
        with device(served.url) as one:
            browser = await with_passkey(served, "ada", one, "team-one")
            form = Form((await browser.get("/approve")).text).to("/approve/sign-in", passkey=True)
            options = json.loads(form["data-options"])
            answer = json.loads(one.say("get", options))
            seen = played(verb="get", options=options, answer=answer)
            assert seen["hidden"] is False
            assert seen["asked"] == [
                {"challenge": options["challenge"], "allowed": [], "rest": "localhost"}
            ]
            (sent,) = seen["sent"]
            assert json.loads(sent["response"]) == answer
            fields = {**form["fields"], "response": sent["response"]}
            assert (await browser.post(form["action"], **fields)).status_code == 303


async def test_a_new_passkey_by_the_script_is_taken(tmp_path: Path) -> None:
    async with approving(tmp_path) as served:
        with device(served.url) as one:
            await with_passkey(served, "ada", one)
            browser = served.browser()
            page = await served.enrolling("ada", browser)
            form = Form(page.text).to("/approve/enroll/passkey")
            options = json.loads(form["data-options"])
            known = [each["id"] for each in options["excludeCredentials"]]
            with device(served.url) as another:
                answer = json.loads(another.say("create", options))
            seen = played(verb="create", options=options, answer=answer)
            assert seen["asked"] == [
                {
                    "challenge": options["challenge"],
                    "user": options["user"]["id"],
                    "allowed": known,
                    "rest": "localhost",
                }
            ]
            assert len(known) == 1
            fields = {**form["fields"], "response": seen["sent"][0]["response"]}
            done = await browser.post(form["action"], **fields)
            assert "The passkey is enrolled." in done.text


def test_the_button_that_was_pressed_is_the_one_that_is_sent() -> None:
    options = {"challenge": "AQ", "rpId": "localhost", "allowCredentials": []}
    answer = {
        "id": "AQ",
        "rawId": "AQ",
        "type": "public-key",
        "response": {"clientDataJSON": "_-8", "authenticatorData": "AQID", "signature": "BA"},
    }
    seen = played(verb="get", options=options, answer=answer)
    assert [each["submitter"] for each in seen["sent"]] == ["the yes button"]
    assert json.loads(seen["sent"][0]["response"]) == answer


def test_a_code_needs_no_passkey_and_a_refusal_sends_nothing() -> None:
    options = {"challenge": "AQ", "rpId": "localhost", "allowCredentials": []}
    typed = played(verb="get", options=options, answer=None, code="123456")
    assert (typed["asked"], typed["prevented"], len(typed["sent"])) == ([], 0, 1)
    refused = played(verb="get", options=options, answer=None, code="")
    assert (refused["sent"], len(refused["asked"])) == ([], 1)
    assert "Try again, or use a code." in refused["told"]
