"""An agent that holds no secret: who it is says the Workload API, the rest it is given for that.

It runs with an interpreter that has the `spiffe` client and `cryptography`, and nothing of
Midflight. One line of JSON on stdin is one call; one line on stdout is what came of it.
Arguments: the address of the gateway, and the URL by which it is known.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from spiffe import WorkloadApiClient  # pyright: ignore[reportMissingImports]

REACHED, KNOWN = sys.argv[1:3]
KEY = ec.generate_private_key(ec.SECP256R1())
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "slice", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


def b64(raw: bytes) -> str:
    """Without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def proof(path: str, token: str = "") -> str:
    """A DPoP proof (RFC 9449)."""
    numbers = KEY.public_key().public_numbers()
    x, y = (b64(n.to_bytes(32, "big")) for n in (numbers.x, numbers.y))
    header = {
        "typ": "dpop+jwt",
        "alg": "ES256",
        "jwk": {"kty": "EC", "crv": "P-256", "x": x, "y": y},
    }
    claims: dict[str, Any] = {
        "jti": str(uuid.uuid4()),
        "htm": "POST",
        "htu": KNOWN + path,
        "iat": int(time.time()),
    }
    if token:
        claims["ath"] = b64(hashlib.sha256(token.encode()).digest())
    signed = ".".join(b64(json.dumps(part).encode()) for part in (header, claims))
    r, s = decode_dss_signature(KEY.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return signed + "." + b64(r.to_bytes(32, "big") + s.to_bytes(32, "big"))


def post(path: str, body: bytes, headers: dict[str, str]) -> Any:
    """The JSON of an answer, whatever its status."""
    request = urllib.request.Request(REACHED + path, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return json.loads(error.read())


def exchanged(svid: str, **more: str) -> Any:
    """What a JWT-SVID is exchanged for (RFC 8693)."""
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "subject_token": svid,
        **more,
    }
    headers = {"DPoP": proof("/oauth/token"), "Host": urllib.parse.urlsplit(KNOWN).netloc}
    return post("/oauth/token", urllib.parse.urlencode(form).encode(), headers)


def call(token: str, tool: str) -> Any:
    """One tool call of the modern generation."""
    message = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": tool, "arguments": {}, "_meta": META},
    }
    headers = {
        "Host": urllib.parse.urlsplit(KNOWN).netloc,
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": tool,
        "Authorization": f"DPoP {token}",
        "DPoP": proof("/mcp", token),
    }
    return post("/mcp", json.dumps(message).encode(), headers)


def say(value: Any) -> None:
    """One line."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Become somebody, then do as told."""
    with WorkloadApiClient(os.environ["SPIFFE_ENDPOINT_SOCKET"]) as api:
        svids = [api.fetch_jwt_svid(audience={KNOWN}).token for _ in range(2)]
        known = [str(one.spiffe_id) for one in api.fetch_x509_context().x509_svids]
    got = exchanged(svids[0])
    say(
        {
            "pid": os.getpid(),
            "svids": known,
            "granted": {name: value for name, value in got.items() if name != "access_token"},
            "other intent": exchanged(svids[1], intent="Something else."),
            "claims": json.loads(
                base64.urlsafe_b64decode(got["access_token"].split(".")[1] + "==")
            ),
        }
    )
    for line in sys.stdin:
        say(call(got["access_token"], json.loads(line)))


if __name__ == "__main__":
    main()
