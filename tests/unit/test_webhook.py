"""Signed webhooks: the vectors of the standard, and any bytes."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midflight.domain.errors import Malformed, Misconfigured, Unauthenticated
from midflight.wire.signals import decode_signal
from midflight.wire.webhook import TOLERANCE_S, Webhook, secret_of, sign, verify

# The example that the libraries of Standard Webhooks are tested with.
SECRET = secret_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", named="x")
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
AT = 1_614_265_330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def webhook(signature: str = SIGNATURE, *, at: str = str(AT)) -> Webhook:
    return Webhook(id=(ID,), timestamp=(at,), signature=(signature,))


def test_the_vector_of_the_standard_holds_and_is_what_we_make() -> None:
    sent = verify(webhook(), BODY, secrets=[SECRET], now=AT + 10.0)
    assert (sent.id, sent.until) == (ID, AT + 2 * TOLERANCE_S)
    assert sign(SECRET, id=ID, timestamp=AT, body=BODY) == SIGNATURE
    assert ID not in repr(sent)
    assert SIGNATURE not in repr(webhook())


@pytest.mark.parametrize("off", [-TOLERANCE_S - 1, TOLERANCE_S + 1])
def test_it_holds_for_five_minutes_either_way(off: int) -> None:
    edge = off + 1 if off < 0 else off - 1
    verify(webhook(), BODY, secrets=[SECRET], now=float(AT + edge))
    with pytest.raises(Unauthenticated, match="too old"):
        verify(webhook(), BODY, secrets=[SECRET], now=float(AT + off))


def test_a_flood_of_signatures_is_not_gone_through() -> None:
    many = " ".join(["v1,AAAA"] * 50 + [SIGNATURE])
    with pytest.raises(Unauthenticated):
        verify(webhook(many), BODY, secrets=[SECRET], now=float(AT))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "whsec_",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_short===",
        "whsec_" + base64.b64encode(bytes(23)).decode(),
        "whsec_" + base64.b64encode(bytes(65)).decode(),
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS!",
    ],
)
def test_a_secret_that_is_none_is_said_without_it(text: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        secret_of(text, named="env:X")
    assert "env:X" in str(caught.value)
    assert len(text) < 10 or text not in str(caught.value)


HEADER = st.lists(st.text(max_size=40), max_size=2).map(tuple)


@given(HEADER, HEADER, HEADER, st.binary(max_size=60))
def test_any_headers_and_bytes_are_a_clean_refusal(
    name: tuple[str, ...], at: tuple[str, ...], signature: tuple[str, ...], body: bytes
) -> None:
    with pytest.raises(Unauthenticated):
        verify(
            Webhook(id=name, timestamp=at, signature=signature),
            body,
            secrets=[SECRET],
            now=float(AT),
        )


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_body_is_a_signal_or_a_clean_error(body: bytes) -> None:
    with pytest.raises(Malformed):
        decode_signal(body)
