"""Values of fields that are called like ones for secrets, on their way out in what is said."""

from __future__ import annotations

import pytest
from flow_kit import mails, office

pytestmark = pytest.mark.anyio

SECRET = "tr0ub4dor-9917"
TO = ["ann@office.example"]
INTENT = "Send an email to ann@office.example about my account"
NAMES = ["password", "apiKey", "api-key", "client_secret", "privateKey", "access_token", "otp"]


@pytest.mark.parametrize("name", NAMES)
async def test_the_value_of_a_field_for_secrets_does_not_leave_in_a_body(name: str) -> None:
    async with office(read_profile={"user": "ann", name: SECRET}) as it:
        run = await it.open(INTENT)
        await it.passes(run, "read_profile")
        await it.held(
            run, "send_mail", "content", recipients=TO, subject="A", body=f"It is {SECRET}."
        )
        await it.passes(run, "send_mail", recipients=TO, subject="A", body="It is fine.")


async def test_the_same_value_of_another_field_leaves() -> None:
    async with office(read_profile={"user": "ann", "member_number": SECRET}) as it:
        run = await it.open(INTENT)
        await it.passes(run, "read_profile")
        await it.passes(run, "send_mail", recipients=TO, subject="A", body=f"It is {SECRET}.")


@pytest.mark.parametrize(
    "body", ["It is sesame.", "It is: SESAME!", "user ann/password (sesame)", "x\nsesame\ny"]
)
async def test_a_secret_that_is_a_plain_word_does_not_leave(body: str) -> None:
    async with office(read_profile={"user": "ann", "password": "sesame"}) as it:
        run = await it.open(INTENT)
        await it.passes(run, "read_profile")
        await it.held(run, "send_mail", "content", recipients=TO, subject="A", body=body)
        await it.passes(run, "send_mail", recipients=TO, subject="A", body="Open the door.")


@pytest.mark.parametrize("where", ["subject", "recipients"])
async def test_a_secret_leaves_in_no_other_argument(where: str) -> None:
    async with office(read_profile={"user": "ann", "password": SECRET}, read_mail=mails("x")) as it:
        run = await it.open(INTENT)
        await it.passes(run, "read_mail")
        await it.passes(run, "read_profile")
        arguments = {"recipients": TO, "subject": "A", "body": "B"}
        leaking = arguments | {where: SECRET if where == "subject" else [f"{SECRET}@post.example"]}
        policy = "content" if where == "subject" else "origin"
        await it.held(run, "send_mail", policy, **leaking)
        await it.passes(run, "send_mail", **arguments)


async def test_three_digits_of_a_security_code_do_not_leave() -> None:
    async with office(read_profile={"user": "ann", "cvv": 917}) as it:
        run = await it.open(INTENT)
        await it.passes(run, "read_profile")
        await it.held(run, "send_mail", "content", recipients=TO, subject="A", body="It is 917.")
        await it.passes(run, "send_mail", recipients=TO, subject="A", body="It is 918.")


async def test_a_secret_that_the_principal_wrote_himself_may_be_sent() -> None:
    async with office(read_profile={"user": "ann", "password": SECRET}) as it:
        run = await it.open(f"{INTENT}: tell her that it is {SECRET}")
        await it.passes(run, "read_profile")
        await it.passes(run, "send_mail", recipients=TO, subject="A", body=f"It is {SECRET}.")
