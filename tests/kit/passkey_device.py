"""A passkey of others (`soft-webauthn`), in the interpreter that has it: run as a child process.

One line of JSON in, one out: `{"do": "create" | "get", "options": …, "origin": …}`. The library
verifies no user, and says so in its flags; with `"verify": true` this one does, and signs that.
"""

from __future__ import annotations

import base64
import json
import sys
from typing import Any

UP, UV = 0x01, 0x04


def main() -> None:
    """Answer until standard input ends."""
    from soft_webauthn import SoftWebauthnDevice  # noqa: PLC0415 -- only this interpreter has it

    device: Any = SoftWebauthnDevice()
    for line in sys.stdin:
        asked = json.loads(line)
        options = asked["options"]
        if "count" in asked:
            device.sign_count = asked["count"]
        verify = asked.get("verify", True)
        make = asked["do"] == "create"
        answer = (_create if make else _get)(device, options, asked["origin"], verify=verify)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _create(device: Any, options: Any, origin: str, *, verify: bool) -> Any:
    from fido2 import cbor  # noqa: PLC0415 -- as above

    asked = {
        **options,
        "challenge": _bytes(options["challenge"]),
        "user": {**options["user"], "id": _bytes(options["user"]["id"])},
        "pubKeyCredParams": [
            {"alg": each["alg"], "type": each["type"]} for each in options["pubKeyCredParams"]
        ],
        "attestation": "none",
    }
    made = device.create({"publicKey": asked}, origin)
    statement = cbor.decode(made["response"]["attestationObject"])
    if verify:  # attestation `none` signs nothing
        statement["authData"] = _flagged(statement["authData"])
    return {
        "id": _text(made["rawId"]),
        "rawId": _text(made["rawId"]),
        "type": made["type"],
        "response": {
            "clientDataJSON": _text(made["response"]["clientDataJSON"]),
            "attestationObject": _text(cbor.encode(statement)),
        },
    }


def _get(device: Any, options: Any, origin: str, *, verify: bool) -> Any:
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 -- as above
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 -- as above

    asked = {**options, "challenge": _bytes(options["challenge"])}
    shown = device.get({"publicKey": asked}, origin)
    response = shown["response"]
    data, signature = response["authenticatorData"], response["signature"]
    if verify:
        data = _flagged(data)
        digest = hashes.Hash(hashes.SHA256())
        digest.update(response["clientDataJSON"])
        signature = device.private_key.sign(data + digest.finalize(), ec.ECDSA(hashes.SHA256()))
    raw = _bytes(shown["id"].decode().rstrip("="))
    return {
        "id": _text(raw),
        "rawId": _text(raw),
        "type": shown["type"],
        "response": {
            "clientDataJSON": _text(response["clientDataJSON"]),
            "authenticatorData": _text(data),
            "signature": _text(signature),
            "userHandle": _text(response["userHandle"]),
        },
    }


def _flagged(data: bytes) -> bytes:
    """Authenticator data with the bit for user verification (WebAuthn §6.1)."""
    return data[:32] + bytes([data[32] | UP | UV]) + data[33:]


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


if __name__ == "__main__":
    main()
