"""A stdio server that says what it knows in every wrong way; standard library, so it starts fast.

It writes what it is given, and a secret of its environment, to stderr; it fails with them, and dies
with them on its lips.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}}
TOOLS = [
    {"name": name, "description": f"Does {name}.", "inputSchema": SCHEMA}
    for name in ("echo", "burst", "die")
]


def call(name: str, text: str) -> dict[str, Any]:
    """Answer a tool call, or fail, or die."""
    secret = os.environ.get("LEAKY_SECRET", "")
    print(text, secret, file=sys.stderr, flush=True)  # noqa: T201
    match name:
        case "echo":
            return {"result": {"content": [{"type": "text", "text": text}]}}
        case "die":
            os._exit(3)
        case _:
            return {"error": {"code": -32603, "message": f"{text} {secret}", "data": secret}}


def answer(message: dict[str, Any]) -> dict[str, Any]:
    """What is owed to a request."""
    params = message.get("params", {})
    match message["method"]:
        case "initialize":
            result = {
                "protocolVersion": params["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "leaky", "version": "1"},
            }
            return {"result": result}
        case "tools/list":
            return {"result": {"tools": TOOLS}}
        case "tools/call":
            return call(params["name"], params["arguments"]["text"])
        case method:
            return {"error": {"code": -32601, "message": f"There is no {method} here."}}


def main() -> None:
    """Serve until stdin ends."""
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message and "method" in message:
            told = {"jsonrpc": "2.0", "id": message["id"], **answer(message)}
            sys.stdout.write(json.dumps(told) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
