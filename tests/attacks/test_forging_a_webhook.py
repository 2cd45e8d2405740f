"""Without the key, or with an old one, at both doors for signed webhooks: the same answers.

Each case is one step away from a message that is taken. Hooks (`/hooks/signed`) answer approvals,
signals (`/signals/classifier`) make findings; here one plane has both, under the same keys.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from control_kit import WORKLOAD
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hook_kit import RAW_KEY, WEBHOOK_KEY, HookedPlane, hooked_plane

from midflight.apps.hooks.main import hook_fronts
from midflight.domain.errors import Misconfigured
from midflight.wire.webhook import MAX_ID, MAX_SIGNATURES, TOLERANCE_S

OLD, ENDED = bytes(range(40, 72)), bytes(range(80, 112))
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(7, 39)))
PUBLIC = "whpk_" + base64.b64encode(PRIVATE.public_key().public_bytes_raw()).decode()
_IDS = itertools.count(1)
Headers: TypeAlias = dict[str, str]


def written(key: bytes) -> str:
    return "whsec_" + base64.b64encode(key).decode()


def signature(key: bytes | Ed25519PrivateKey, name: str, at: int | str, body: bytes) -> str:
    """By an own computation."""
    signed = f"{name}.{at}.".encode("latin-1") + body
    if isinstance(key, bytes):
        version, raw = "v1", hmac.new(key, signed, hashlib.sha256).digest()
    else:
        version, raw = "v1a", key.sign(signed)
    return f"{version},{base64.b64encode(raw).decode()}"


def headers(
    body: bytes,
    key: bytes | Ed25519PrivateKey = RAW_KEY,
    *,
    name: str | None = None,
    at: int | str | None = None,
) -> Headers:
    name = f"msg_{next(_IDS)}" if name is None else name
    at = int(time.time()) if at is None else at
    return {
        "content-type": "application/json",
        "webhook-id": name,
        "webhook-timestamp": str(at),
        "webhook-signature": signature(key, name, at, body),
    }


SIGNALS = """
[[signals]]
name = "classifier"
secret = "file:webhook.secret"
previous_secret = "file:{old}.secret"
previous_until = {until}
workloads = ["spiffe://*"]

[[signals]]
name = "asymmetric"
secret = "file:public.secret"
workloads = ["spiffe://*"]
"""


def plane_with(folder: Path, *, old: str, until: str) -> Any:
    for name, text in (("old", written(OLD)), ("ended", written(ENDED)), ("public", PUBLIC)):
        (folder / f"{name}.secret").write_text(text, encoding="utf-8")
    before = f'previous_secret = "file:{old}.secret"\nprevious_until = {until}'
    return hooked_plane(folder, signed=before, extra=SIGNALS.format(old=old, until=until))


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[HookedPlane]:
    with plane_with(tmp_path, old="old", until="2199-01-01T00:00:00Z") as running:
        yield running


class Door:
    """One of the two: what is said at it, and whether it was heard."""

    def __init__(self, plane: HookedPlane, path: str) -> None:
        self.plane = plane
        self.path = path
        if path == "/hooks/signed":
            self.approval = plane.ask(plane.untrusted_run())
            plane.tick()
            ticket = plane.buttons("/signed")["Approve"]
            self.body = said("button.pressed", person="u-17", ticket=ticket)
        else:
            self.body = said("finding", workload=WORKLOAD, strength="fair", seen="odd answers")

    def knock(self, sent: Mapping[str, str], body: bytes | None = None) -> tuple[int, Any]:
        return self.plane.knock(self.path, sent, self.body if body is None else body)

    def heard(self) -> bool:
        if self.path == "/hooks/signed":
            return self.plane.state(self.approval) != "pending"
        found = self.plane.running.records("found")
        return any(each["finding"]["detector"].startswith("signal:") for each in found)


def said(kind: str, **data: str) -> bytes:
    return json.dumps({"type": kind, "data": data}).encode()


def _now() -> int:
    return int(time.time())


def _changed(body: bytes, sent: Headers, **changes: str) -> tuple[Headers, bytes]:
    return sent | {f"webhook-{name}": text for name, text in changes.items()}, body


def _flood(body: bytes, *, more: str, times: int) -> tuple[Headers, bytes]:
    sent = headers(body)
    return _changed(body, sent, signature=" ".join([*[more] * times, sent["webhook-signature"]]))


CASES: dict[str, Callable[[bytes], tuple[Headers, bytes]]] = {
    "an old time": lambda b: (headers(b, at=_now() - TOLERANCE_S - 60), b),
    "a time to come": lambda b: (headers(b, at=_now() + TOLERANCE_S + 60), b),
    "a time with a zero before it": lambda b: (headers(b, at=f"0{_now()}"), b),
    "a time with a sign": lambda b: (headers(b, at=f"+{_now()}"), b),
    "a time with a fraction": lambda b: (headers(b, at=f"{_now()}.0"), b),
    "an endless time": lambda b: (headers(b, at="9" * 400), b),
    "a body that was changed": lambda b: (headers(b), b + b" "),
    "no body": lambda b: (headers(b), b""),
    "another id": lambda b: _changed(b, headers(b), id="msg_other"),
    "an id with a full stop": lambda b: (headers(b, name="msg.1"), b),
    "an id with a space": lambda b: (headers(b, name="msg 1"), b),
    "an id with a letter of another script": lambda b: (headers(b, name="msg_\u00e9"), b),
    "an id that is empty": lambda b: (headers(b, name=""), b),
    "an id that is long": lambda b: (headers(b, name="m" * (MAX_ID + 1)), b),
    "a part of the time moved into the id": lambda b: _changed(
        b, headers(b, name="m"), id=f"m.{_now()}"
    ),
    "a signature of another version": lambda b: _changed(
        b, headers(b), signature="v1a," + headers(b)["webhook-signature"][3:]
    ),
    "a signature without a version": lambda b: _changed(
        b, (sent := headers(b)), signature=sent["webhook-signature"][3:]
    ),
    "a signature by another kind of key": lambda b: (headers(b, PRIVATE), b),
    "a signature by nothing": lambda b: (headers(b, b""), b),
    "a signature by the secret as it is written": lambda b: (headers(b, WEBHOOK_KEY.encode()), b),
    "a signature by a key that everybody knows": lambda b: (headers(b, PUBLIC.encode()), b),
    "a flood of signatures before the good one": lambda b: _flood(
        b, more="v1,AAAA", times=MAX_SIGNATURES
    ),
    "a long signature before the good one": lambda b: _flood(b, more="v1," + "A" * 1_100, times=1),
    "a flood of spaces": lambda b: _flood(b, more="", times=MAX_SIGNATURES),
}


@pytest.mark.parametrize("path", ["/hooks/signed", "/signals/classifier"])
def test_what_its_sender_has_not_signed_now_is_refused(plane: HookedPlane, path: str) -> None:
    door = Door(plane, path)
    for name, case in CASES.items():
        sent, body = case(door.body)
        status, answer = door.knock(sent, body)
        assert (status, answer["code"]) == (401, "unauthenticated"), name
    assert not door.heard()
    for why in (
        "too old",
        "signature of the webhook",
        "webhook-id",
        "webhook-timestamp",
        "more than",
    ):
        assert any(why in refused for refused in plane.refusals()), why
    # One step back from all of these, and it is taken; by the secret before, too.
    assert door.knock(headers(door.body, OLD))[0] in (200, 202)
    assert door.heard()


@pytest.mark.parametrize("path", ["/hooks/signed", "/signals/classifier"])
def test_a_replay_is_heard_once(plane: HookedPlane, path: str) -> None:
    door = Door(plane, path)
    sent = headers(door.body)
    assert door.knock(sent)[0] in (200, 202)
    # Signed anew under the same id, or by the other key: the same message.
    for again in (sent, headers(door.body, OLD, name=sent["webhook-id"])):
        status, answer = door.knock(again)
        assert status == 409 or answer["message"] == "This was taken before."
    kind = "approval_answered" if path == "/hooks/signed" else "found"
    assert len(plane.running.records(kind)) == 1


@pytest.mark.parametrize("path", ["/hooks/signed", "/signals/classifier"])
def test_a_secret_that_was_replaced_is_good_for_nothing_after_its_end(
    tmp_path: Path, path: str
) -> None:
    with plane_with(tmp_path, old="ended", until="2020-01-01T00:00:00+01:00") as plane:
        door = Door(plane, path)
        status, answer = door.knock(headers(door.body, ENDED))
        assert (status, answer["code"]) == (401, "unauthenticated")
        assert (
            answer == door.knock(headers(door.body, bytes(32)))[1]
        )  # and nothing says that it was
        assert not door.heard()
        (tmp_path / "ended.secret").unlink()  # nor need it be there
        assert door.knock(headers(door.body))[0] in (200, 202)


def test_what_has_only_a_public_key_here_cannot_be_forged_from_here(plane: HookedPlane) -> None:
    door = Door(plane, "/signals/asymmetric")
    public = PRIVATE.public_key().public_bytes_raw()
    for forged in (headers(door.body, public), headers(door.body, RAW_KEY)):
        assert door.knock(forged)[0] == 401
    assert not door.heard()
    assert door.knock(headers(door.body, PRIVATE))[0] == 202


@pytest.mark.parametrize("text", ["whsk_" + "A" * 43 + "=", "whsec_c2hvcnQ=", "hunter2hunter2"])
def test_a_secret_of_another_kind_keeps_a_start_from_happening(
    plane: HookedPlane, tmp_path: Path, text: str
) -> None:
    door = Door(plane, "/hooks/signed")
    (tmp_path / "webhook.secret").write_text(text, encoding="utf-8")
    with pytest.raises(Misconfigured) as caught:
        hook_fronts(plane.running.plane, noise=None)  # type: ignore[arg-type] -- it is not reached
    assert "hooks.signed.secret (file:" in str(caught.value)
    assert text not in str(caught.value)
    # A plane that runs and whose secret becomes none refuses, and says to strangers no more.
    status, answer = door.knock(headers(door.body))
    assert (status, answer["message"]) == (503, "This hook cannot be served now.")
    assert not door.heard()
