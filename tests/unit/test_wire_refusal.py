"""Refusals that agents can use, and that clients survive."""

from __future__ import annotations

import msgspec
import pytest
from mcp_types import methods as sdk

from midflight.domain.decision import Challenge, Deny, DenyCode, Reason
from midflight.wire import refusal
from midflight.wire.mcp import translate

_DENY = Deny(
    version="v1",
    code=DenyCode.POLICY,
    reasons=(
        Reason(policy="std/no-send-when-untrusted", text="The run read a web page.", help="h"),
        Reason(policy="team/x"),
    ),
    help="Ask the owner for a grant.",
)
_CHALLENGE = Challenge(
    version="v1",
    reasons=(Reason(policy="std/pay", text="It pays."),),
    approvers=("ops", "cfo"),
    expires_s=120,
)


def test_a_denial_says_what_why_and_what_would_help() -> None:
    result = refusal.as_result(_DENY, "3f/12")
    assert result["isError"] is True
    assert "structuredContent" not in result
    text = result["content"][0]["text"]
    for part in (
        "std/no-send-when-untrusted",
        "The run read a web page.",
        "Ask the owner",
        "3f/12",
    ):
        assert part in text
    assert result["_meta"][refusal.REFUSAL] == {
        "code": "policy",
        "policies": ["std/no-send-when-untrusted", "team/x"],
        "record": "3f/12",
        "help": "Ask the owner for a grant.",
    }


def test_a_challenge_names_who_must_approve_and_until_when() -> None:
    data = refusal.as_result(_CHALLENGE, "r")["_meta"][refusal.REFUSAL]
    assert (data["code"], data["approvers"], data["expires_s"]) == (
        "approval_required",
        ["ops", "cfo"],
        120,
    )
    assert "ops, cfo" in data["help"]


def test_an_error_carries_the_same_data_and_a_code_outside_the_reserved_ranges() -> None:
    error = refusal.as_error(_DENY, "r")
    assert error["data"][refusal.REFUSAL] == refusal.as_result(_DENY, "r")["_meta"][refusal.REFUSAL]
    assert not -32768 <= error["code"] <= -32000


def test_help_of_a_policy_is_used_where_the_denial_has_none() -> None:
    deny = Deny(version="v", code=DenyCode.POLICY, reasons=(Reason(policy="p", help="Do x."),))
    assert refusal.as_result(deny, "r")["_meta"][refusal.REFUSAL]["help"] == "Do x."


@pytest.mark.parametrize("code", list(DenyCode))
def test_every_code_has_its_meaning_in_words(code: DenyCode) -> None:
    text = refusal.as_result(Deny(version="v", code=code, reasons=()), "r")["content"][0]["text"]
    assert text.startswith("Midflight did not let this happen: ")
    assert len(text.splitlines()[0]) > 50


@pytest.mark.parametrize("version", ["2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"])
def test_the_official_sdk_reads_a_refusal_as_a_tool_error(version: str) -> None:
    result = refusal.as_result(_CHALLENGE, "r")
    if version == "2026-07-28":
        result = translate.result_for_modern("tools/call", result, server_info=None, private=True)
    parsed = sdk.parse_server_result("tools/call", version, result)
    assert parsed.is_error is True  # type: ignore[union-attr]


_PENDING = Challenge(
    version="v",
    reasons=(Reason(policy="ask", text="Somebody looks."),),
    approvers=("owner",),
    expires_s=600,
    approval="apr_1",
    asked=("payments-oncall",),
    expires_at=1_800_000_600,
)


def test_what_waits_says_for_whom_until_when_and_how_to_go_on() -> None:
    way = refusal.Way(url="https://m.example/approve/apr_1", handle="mfa_x")
    result = refusal.as_result(_PENDING, "r", way)
    first, why, how, record = result["content"][0]["text"].splitlines()
    assert first.startswith("Waiting for approval by payments-oncall, expires 08:10 UTC; ")
    assert (why, record) == ("- ask: Somebody looks.", "Record: r")
    assert "payments-oncall answers at https://m.example/approve/apr_1, or `midflight" in how
    assert how.endswith("do exactly the same again, with 'dev.midflight/handle' in _meta.")
    assert result["_meta"][refusal.HANDLE] == "mfa_x"
    told = result["_meta"][refusal.REFUSAL]
    assert (told["state"], told["asked"]) == ("pending", ["payments-oncall"])
    assert told["expires_at"] == "2027-01-15T08:10:00Z"


def test_a_question_that_waits_for_days_has_its_date() -> None:
    far = msgspec.structs.replace(_PENDING, expires_s=86_400)
    assert refusal.waiting(far).endswith("expires 2027-01-15 08:10 UTC")
