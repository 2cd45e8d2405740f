"""A stdio server over PostgreSQL; it knows nothing of its login but what its environment says.

asyncpg takes PGHOST, PGPORT, PGUSER and PGPASSWORD from there. A call is one query on one session.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import asyncpg

SCHEMA = {"type": "object", "properties": {}}
QUERIES = {
    "list_orders": "SELECT item FROM orders ORDER BY item",
    "whoami": "SELECT current_user::text",
    "slow_report": "SELECT pg_sleep(600)::text",
}
TOOLS = [{"name": name, "description": f"Does {name}.", "inputSchema": SCHEMA} for name in QUERIES]


async def call(name: str) -> dict[str, Any]:
    """Answer a tool call with rows, or with what the database said."""
    try:
        session = await asyncpg.connect(database="postgres", ssl=False)
        try:
            rows = await session.fetch(QUERIES[name])
        finally:
            session.terminate()
    except (asyncpg.PostgresError, OSError) as error:
        return {"content": [{"type": "text", "text": str(error)}], "isError": True}
    return {"content": [{"type": "text", "text": " ".join(row[0] for row in rows)}]}


async def answer(message: dict[str, Any]) -> None:
    """Answer one request."""
    params = message.get("params", {})
    match message["method"]:
        case "initialize":
            result: dict[str, Any] = {
                "protocolVersion": params["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "orders", "version": "1"},
            }
        case "tools/list":
            result = {"tools": TOOLS}
        case "tools/call":
            result = await call(params["name"])
        case _:
            result = {}
    told = {"jsonrpc": "2.0", "id": message["id"], "result": result}
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


async def main() -> None:
    """Serve until stdin ends."""
    beside: set[asyncio.Task[None]] = set()
    while line := await asyncio.to_thread(sys.stdin.readline):
        message = json.loads(line)
        if "id" in message and "method" in message:
            beside.add(asyncio.ensure_future(answer(message)))


if __name__ == "__main__":
    asyncio.run(main())
