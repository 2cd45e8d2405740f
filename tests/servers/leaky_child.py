"""A stdio server on the official SDK that says what it knows in every wrong way.

It writes what it is given, and a variable of its environment, to stderr; it raises with them, and
dies with them on its lips.
"""

from __future__ import annotations

import os
import sys

from mcp.server import MCPServer

server = MCPServer("leaky")


def say(text: str) -> None:
    """To stderr, with the secret that was given to it."""
    print(text, os.environ.get("LEAKY_SECRET"), file=sys.stderr, flush=True)  # noqa: T201


@server.tool()
def echo(text: str) -> str:
    """Answer with what was given."""
    say(text)
    return text


@server.tool()
def burst(text: str) -> str:
    """Fail with what was given."""
    say(text)
    raise RuntimeError(f"{text} {os.environ['LEAKY_SECRET']}")


@server.tool()
def die(text: str) -> str:
    """Die in the middle of the call."""
    say(text)
    os._exit(3)


if __name__ == "__main__":
    server.run("stdio")
