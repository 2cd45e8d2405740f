"""An event as one line, in one of two forms."""

from __future__ import annotations

import enum
from typing import assert_never

from midflight.wire import json
from midflight.wire.export import cef, ocsf
from midflight.wire.export.telling import Told

# JSON leaves them as they are, and many readers of lines end a line there or obey them.
_ESCAPED = {c: f"\\u{c:04x}" for c in (*range(0x7F, 0xA0), 0x2028, 0x2029)}


class Form(enum.StrEnum):
    """How an event is written."""

    OCSF = "ocsf"
    CEF = "cef"


def line(event: Told, form: Form) -> str:
    """An event as one line, without its end."""
    match form:
        case Form.OCSF:
            return json.encode(ocsf.event(event)).decode().translate(_ESCAPED)
        case Form.CEF:
            return cef.line(event)
        case _:
            assert_never(form)


__all__ = ["Form", "line"]
