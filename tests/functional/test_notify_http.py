"""Channels over HTTP, against a server on loopback: what is on the wire, what a failure means."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from authority import Authority
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from notify_kit import NOW, Receiver, item, message, receiver

from midflight.adapters.notify.opsgenie import OpsgenieChannel
from midflight.adapters.notify.pagerduty import PagerDutyChannel
from midflight.adapters.notify.posting import Poster
from midflight.adapters.notify.slack import SlackChannel
from midflight.adapters.notify.webhook import WebhookChannel
from midflight.domain.errors import Misconfigured
from midflight.domain.notice import Severity
from midflight.services.ports.notify import NotDelivered, Telling
from midflight.testing import FakeClock
from midflight.wire.webhook import Key, Webhook, verify

pytestmark = pytest.mark.anyio

RAW = bytes(range(32))
KEY = "whsec_" + base64.b64encode(RAW).decode()


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


def webhook(url: str, *keys: str) -> WebhookChannel:
    return WebhookChannel(
        "hook",
        url=lambda: url,
        keys={f"key {n}": lambda key=key: key for n, key in enumerate(keys or (KEY,))},
        poster=Poster("hook"),
        clock=FakeClock(NOW + 7),
    )


async def test_a_webhook_is_signed_as_its_receiver_computes_it(there: Receiver) -> None:
    await webhook(f"{there.url}/in?x=1").tell(message())
    (got,) = there.got
    assert got.path == "/in?x=1"
    assert got.headers["webhook-id"] == "msg_0123"
    assert got.headers["webhook-timestamp"] == str(NOW + 7)
    signed = b"msg_0123." + str(NOW + 7).encode() + b"." + got.body
    own = base64.b64encode(hmac.new(RAW, signed, hashlib.sha256).digest()).decode()
    assert got.headers["webhook-signature"] == f"v1,{own}"
    assert got.headers["content-type"] == "application/json"
    assert got.document == {
        "type": "notice.trigger",
        "timestamp": "2027-01-15T08:00:00Z",
        "data": {
            "thread": "ntc_0123",
            "title": "An action waits for approval",
            "severity": "warning",
            "contact": "olivia",
            "more": 0,
            "items": [
                {
                    "notice": "ntc_0123",
                    "subject": "apr_0123",
                    "title": "An action waits for approval",
                    "facts": [
                        {"name": "action", "value": "mail/send"},
                        {"name": "to", "value": "bob@x.org (untrusted)"},
                    ],
                    "link": "",
                    "answers": {"Approve": "mft1.approve.t", "Refuse": "mft1.refuse.t"},
                }
            ],
        },
    }


async def test_a_webhook_may_be_signed_with_ed25519(there: Receiver) -> None:
    private = Ed25519PrivateKey.generate()
    key = "whsk_" + base64.b64encode(private.private_bytes_raw()).decode()
    await webhook(there.url, key).tell(message())
    (got,) = there.got
    kind, _, text = got.headers["webhook-signature"].partition(",")
    assert kind == "v1a"
    signed = b"msg_0123." + str(NOW + 7).encode() + b"." + got.body
    private.public_key().verify(base64.b64decode(text), signed)  # raises if it does not hold


async def test_while_a_key_is_changed_both_sign_and_a_receiver_of_either_verifies(
    there: Receiver,
) -> None:
    private = Ed25519PrivateKey.generate()
    text = "whsk_" + base64.b64encode(private.private_bytes_raw()).decode()
    await webhook(there.url, text, KEY).tell(message())
    (got,) = there.got
    came = Webhook(
        id=(got.headers["webhook-id"],),
        timestamp=(got.headers["webhook-timestamp"],),
        signature=(got.headers["webhook-signature"],),
    )
    for verifier in (RAW, private.public_key()):
        verify(came, got.body, keys=[Key(verifier=verifier)], now=NOW)


async def test_a_key_that_is_none_is_named(there: Receiver) -> None:
    with pytest.raises(Misconfigured, match="key 1 is not whsec_"):
        await webhook(there.url, KEY, "whsec_short").tell(message())
    assert there.got == []


async def test_slack_gets_blocks_with_buttons_that_carry_tickets(there: Receiver) -> None:
    url = f"{there.url}/services/T0/B0/secret"
    channel = SlackChannel("chat", url=lambda: url, poster=Poster("chat"))
    await channel.tell(message(more=2))
    (got,) = there.got
    assert got.path == "/services/T0/B0/secret"
    document = got.document
    assert [block["type"] for block in document["blocks"]] == [
        "header",
        "section",
        "actions",
        "context",
    ]
    assert "to: bob@x.org (untrusted)" in document["blocks"][1]["text"]["text"]
    buttons = document["blocks"][2]["elements"]
    assert [(b["text"]["text"], b["value"]) for b in buttons] == [
        ("Approve", "mft1.approve.t"),
        ("Refuse", "mft1.refuse.t"),
    ]
    assert len({b["action_id"] for b in buttons}) == 2
    assert "2 more" in document["blocks"][3]["elements"][0]["text"]


async def test_pagerduty_is_triggered_acknowledged_and_resolved_under_one_key(
    there: Receiver,
) -> None:
    channel = PagerDutyChannel(
        "page",
        url=f"{there.url}/v2/enqueue",
        key=lambda: "R0UT1NG",
        poster=Poster("page"),
        source="midflight test",
    )
    there.statuses = [202, 202, 202]
    await channel.tell(message(severity=Severity.CRITICAL, items=(item(link="https://x.org/a"),)))
    await channel.tell(message(telling=Telling.ACKNOWLEDGED, items=()))
    await channel.tell(message(telling=Telling.RESOLVED, items=()))
    first, second, third = [got.document for got in there.got]
    assert first["event_action"] == "trigger"
    assert first["routing_key"] == "R0UT1NG"
    assert first["payload"]["severity"] == "critical"
    assert first["payload"]["source"] == "midflight test"
    assert first["payload"]["summary"] == "An action waits for approval"
    assert "action: mail/send" in first["payload"]["custom_details"]["questions"][0]["facts"]
    assert first["links"] == [{"href": "https://x.org/a", "text": "An action waits for approval"}]
    assert second == {
        "event_action": "acknowledge",
        "dedup_key": "ntc_0123",
        "routing_key": "R0UT1NG",
    }
    assert third == second | {"event_action": "resolve"}
    assert first["dedup_key"] == "ntc_0123"


async def test_opsgenie_is_told_by_alias(there: Receiver) -> None:
    channel = OpsgenieChannel(
        "ops", url=f"{there.url}/v2/alerts", key=lambda: "k1", poster=Poster("ops"), source="us"
    )
    there.statuses = [202, 202, 202]
    await channel.tell(message(severity=Severity.ERROR))
    await channel.tell(message(telling=Telling.ACKNOWLEDGED, items=()))
    await channel.tell(message(telling=Telling.RESOLVED, items=()))
    assert [got.path for got in there.got] == [
        "/v2/alerts",
        "/v2/alerts/ntc_0123/acknowledge?identifierType=alias",
        "/v2/alerts/ntc_0123/close?identifierType=alias",
    ]
    assert {got.headers["authorization"] for got in there.got} == {"GenieKey k1"}
    first = there.got[0].document
    assert first["alias"] == "ntc_0123"
    assert first["priority"] == "P2"
    assert len(first["message"]) <= 130
    assert "mail/send" in first["description"]
    assert all(isinstance(value, str) for value in first["details"].values())


@pytest.mark.parametrize(
    ("status", "is_final"),
    [(500, False), (503, False), (429, False), (408, False), (400, True), (404, True), (302, True)],
)
async def test_what_a_status_means(there: Receiver, status: int, is_final: bool) -> None:
    there.statuses = [status]
    there.more = {"retry-after": "40", "location": "http://127.0.0.1:1/elsewhere"}
    with pytest.raises(NotDelivered) as caught:
        await webhook(f"{there.url}/s3cret").tell(message())
    assert caught.value.is_final is is_final
    assert caught.value.after_s == 40
    assert str(status) in caught.value.message
    assert "s3cret" not in str(caught.value)
    assert len(there.got) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest",
        "https://169.254.169.254/latest",
        "http://10.0.0.1/x",  # not loopback, so not in the clear
        "ftp://127.0.0.1/x",
        "https://user:pw@127.0.0.1/x",
        "http://127.0.0.1/x#y",
    ],
)
async def test_where_nothing_goes(url: str) -> None:
    with pytest.raises(NotDelivered) as caught:
        await webhook(url).tell(message())
    assert caught.value.is_final
    assert url not in str(caught.value)


async def test_nobody_who_listens_is_no_reason_to_give_up() -> None:
    with receiver() as gone:
        url = gone.url
    with pytest.raises(NotDelivered) as caught:
        await webhook(url).tell(message())
    assert not caught.value.is_final


async def test_a_receiver_has_to_show_a_certificate_that_verifies(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with receiver(context) as there:
        trusting = ssl.create_default_context(cafile=str(authority.file))
        known = WebhookChannel(
            "hook",
            url=lambda: there.url,
            keys={"key": lambda: KEY},
            poster=Poster("hook", tls=trusting),
            clock=FakeClock(),
        )
        await known.tell(message())
        assert len(there.got) == 1
        with pytest.raises(NotDelivered, match="certificate"):
            await webhook(there.url).tell(message())
        assert len(there.got) == 1
