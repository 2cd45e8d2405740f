"""Mail, against a real SMTP server: STARTTLS, implicit TLS, login, and what is in a letter."""

from __future__ import annotations

import email
import email.policy
import ssl
from pathlib import Path
from typing import Any

import pytest
from authority import Authority
from notify_kit import Postbox, message, postbox

from midflight.adapters.notify.email import EmailChannel
from midflight.services.ports.notify import NotDelivered

pytestmark = pytest.mark.anyio


@pytest.fixture
def contexts(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """(of the server, of a client that trusts it)"""
    authority = Authority(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*authority.issue("mail"))
    return server, ssl.create_default_context(cafile=str(authority.file))


def channel(box: Postbox, **changes: Any) -> EmailChannel:
    fields: dict[str, Any] = {
        "host": "localhost",
        "port": box.port,
        "encryption": "starttls",
        "sender": "midflight@example.org",
        "recipients": ("oncall@example.org", "second@example.org"),
        "username": "midflight",
        "password": lambda: "correct horse",
    }
    return EmailChannel("mail", **(fields | changes))


def read(box: Postbox) -> Any:
    (envelope,) = box.mails
    return email.message_from_bytes(envelope.content or b"", policy=email.policy.default)


async def test_a_letter_arrives_over_starttls_after_a_login(contexts: Any) -> None:
    server, client = contexts
    async with postbox(server) as box:
        await channel(box, tls=client).tell(message())
    assert box.logins == [("midflight", "correct horse")]
    assert box.mails[0].rcpt_tos == ["oncall@example.org", "second@example.org"]
    assert box.mails[0].mail_from == "midflight@example.org"
    letter = read(box)
    assert letter["subject"] == "[Midflight] An action waits for approval"
    assert letter["message-id"] == "<msg_0123@example.org>"
    assert letter["auto-submitted"] == "auto-generated"
    assert letter.get_content_type() == "text/plain"
    text = letter.get_content()
    assert "to: bob@x.org (untrusted)" in text
    assert "mft1" not in text  # a ticket in a mailbox would be a key under the mat


async def test_a_letter_arrives_over_implicit_tls(contexts: Any) -> None:
    server, client = contexts
    async with postbox(server, implicit=True) as box:
        await channel(box, tls=client, encryption="implicit").tell(message())
    assert len(box.mails) == 1


async def test_a_server_that_has_no_starttls_gets_neither_login_nor_letter() -> None:
    async with postbox(login=False) as box:
        with pytest.raises(NotDelivered):
            await channel(box).tell(message())
    assert box.mails == []
    assert box.logins == []


@pytest.mark.parametrize("implicit", [False, True])
async def test_a_server_that_nobody_vouches_for_gets_no_letter(
    contexts: Any, implicit: bool
) -> None:
    server, _ = contexts
    async with postbox(server, implicit=implicit) as box:
        with pytest.raises(NotDelivered) as caught:
            await channel(box, encryption="implicit" if implicit else "starttls").tell(message())
    assert box.mails == []
    assert box.logins == []
    assert "correct horse" not in str(caught.value)


async def test_a_refused_login_says_so_and_not_with_what(contexts: Any) -> None:
    server, client = contexts
    async with postbox(server) as box:
        with pytest.raises(NotDelivered, match="refuses the login") as caught:
            await channel(box, tls=client, password=lambda: "wr0ng").tell(message())
    assert "wr0ng" not in str(caught.value)
    assert not caught.value.is_final


@pytest.mark.parametrize(
    ("answer", "is_final"), [("451 busy s3cret", False), ("554 no s3cret", True)]
)
async def test_what_a_refusal_means(contexts: Any, answer: str, is_final: bool) -> None:
    server, client = contexts
    async with postbox(server) as box:
        box.refuses = answer
        with pytest.raises(NotDelivered) as caught:
            await channel(box, tls=client).tell(message())
    assert caught.value.is_final is is_final
    assert "s3cret" not in str(caught.value)


async def test_without_encryption_there_is_no_login() -> None:
    async with postbox(login=False) as box:
        await channel(box, encryption="none", username="", password=None).tell(message())
    assert len(box.mails) == 1
