"""The bench's stdio server, of the legacy generation.

`look` answers about 1 KB at once, `hang` never.
"""

from __future__ import annotations

import sys
from typing import Any

import msgspec

from bench.echo import FILLER, tools

INITIALIZED = {
    "protocolVersion": "2025-06-18",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "echo", "version": "1"},
}


def answer(message: dict[str, Any]) -> dict[str, Any]:
    match message["method"]:
        case "initialize":
            return INITIALIZED
        case "tools/list":
            return {"tools": tools(0)}
        case "tools/call":
            return {"content": [{"type": "text", "text": FILLER}]}
        case _:
            return {}


def main() -> None:
    for line in sys.stdin.buffer:
        message = msgspec.json.decode(line)
        if message.get("params", {}).get("name") == "hang":
            continue
        if "id" in message:
            reply = {"jsonrpc": "2.0", "id": message["id"], "result": answer(message)}
            sys.stdout.buffer.write(msgspec.json.encode(reply) + b"\n")
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
