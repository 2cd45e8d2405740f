"""The demo's own tool server: mail, documents and a long export, over Streamable HTTP.

It is the owner's server, not Midflight's: it counts what reaches it, so that the demo can show that
what was refused never arrived. Run as `python -m midflight.apps.demo.office STATE_FILE DOCUMENTS`;
it prints its URL on one line.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from pathlib import Path

import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver import Context

EXPORT_ROWS = 160
ROW_S = 0.025


def server(state: Path, documents: Path) -> MCPServer:
    """The server; `state` is the JSON file of its counts, `documents` the folder of its texts."""
    counts = {"mails": 0, "payments": 0, "rows": 0, "cancelled": 0, "keyed": 0}

    def keep() -> None:
        state.write_text(json.dumps(counts), encoding="utf-8")

    keep()
    office = MCPServer("office", instructions="Mail, payments and exports of the demo's office.")

    @office.tool()
    def send_mail(to: str, subject: str, body: str) -> str:
        """Send a mail."""
        del subject, body
        counts["mails"] += 1
        keep()
        return f"sent to {to}"

    @office.tool()
    def make_payment(to_account: str, amount_cents: int) -> str:
        """Pay an amount in cents to an account."""
        counts["payments"] += 1
        keep()
        return f"paid {amount_cents} to {to_account}"

    @office.tool()
    def whose_key(context: Context) -> str:
        """Repeat the key that a call came with, as a careless server does."""
        key = (context.headers or {}).get("x-office-key", "")
        counts["keyed"] = len(key)
        keep()
        return f"you called with the key {key or 'of nobody'}"

    @office.tool()
    def delete_customers() -> str:
        """Delete all customers."""
        return "deleted"

    @office.tool()
    def read_document(name: str) -> str:
        """Read a document of the office."""
        # The names are those of the folder: nobody reads anything else by one.
        return {path.stem: path for path in documents.iterdir()}[name].read_text(encoding="utf-8")

    @office.tool()
    async def export_customers(context: Context) -> str:
        """Export all customers, row by row. Takes a while and reports its progress."""
        try:
            for row in range(1, EXPORT_ROWS + 1):
                await context.report_progress(row, EXPORT_ROWS, f"customer {row}")
                counts["rows"] = row
                await asyncio.sleep(ROW_S)
        except asyncio.CancelledError:
            counts["cancelled"] += 1
            raise
        finally:
            keep()
        return f"exported {EXPORT_ROWS} rows"

    return office


def main(arguments: list[str]) -> None:
    """Serve on a free port of loopback until killed."""
    state, documents = map(Path, arguments)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        print(f"http://127.0.0.1:{port}/mcp", flush=True)  # noqa: T201 -- read by the demo
        app = server(state, documents).streamable_http_app()
        config = uvicorn.Config(app, log_config=None, lifespan="on", access_log=False)
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(sys.argv[1:])
