"""Any bytes: a message becomes an action that sends what it said, or `Malformed`."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["midflight.wire"]):
    from midflight.domain.errors import Malformed
    from midflight.wire import jsonrpc
    from midflight.wire.mcp.actions import answers_in, to_action, to_message


def one_input(raw: bytes) -> None:
    try:
        messages = (
            jsonrpc.decode_batch(raw) if jsonrpc.is_batch(raw) else [jsonrpc.decode_message(raw)]
        )
    except Malformed:
        return
    for message in messages:
        if isinstance(message, jsonrpc.Response):
            continue
        try:
            action = to_action(message, upstream="up")
        except Malformed:
            continue
        answers_in(action)
        method, params = to_message(action)
        said = {name: value for name, value in message.params.items() if name != "_meta"}
        sent = {name: value for name, value in params.items() if name != "_meta"}
        if method != message.method or {**sent, **said} != sent:
            raise AssertionError("what is sent is not what was said")


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
