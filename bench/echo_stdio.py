"""The bench's stdio server, of the legacy generation.

`look` answers about 1 KB at once, which begin with how many bytes of calls have come; `hang` never
answers.
"""

from __future__ import annotations

import sys
from typing import Any

import msgspec

from bench.echo import FILLER, tools

INITIALIZED: dict[str, Any] = {
    "protocolVersion": "2025-06-18",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "echo", "version": "1"},
}


def answer(message: dict[str, Any], came: int) -> dict[str, Any]:
    """The result of a request. `came`: bytes of calls so far."""
    match message["method"]:
        case "initialize":
            return INITIALIZED
        case "tools/list":
            return {"tools": tools(0)}
        case "tools/call":
            return {"content": [{"type": "text", "text": f"{came} {FILLER}"}]}
        case _:
            return {}


def main() -> None:
    came = 0
    for line in sys.stdin.buffer:
        message = msgspec.json.decode(line)
        if message["method"] == "tools/call":
            came += len(line.rstrip(b"\n"))  # the end of a line is framing, as a head of HTTP is
            if message["params"]["name"] == "hang":
                continue
        if "id" in message:
            reply = {"jsonrpc": "2.0", "id": message["id"], "result": answer(message, came)}
            sys.stdout.buffer.write(msgspec.json.encode(reply) + b"\n")
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
