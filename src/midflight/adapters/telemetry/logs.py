"""Log lines: events with fields, JSON for machines or colours for a person, and no secret in them.

Lines of libraries (uvicorn, sqlalchemy) go through the same processors. Redaction is the last thing
before a line is rendered, so that it sees tracebacks, too. It is a net below the rule that nobody
logs a secret, not a leave to do so.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor

REDACTED: Final = "[redacted]"

_SECRET_KEYS = re.compile(
    r"authorization|cookie|dpop|passw(?:or)?d|passphrase|secret|credential|api_?key|private_?key"
    r"|(?:^|_)(?:token|salt|seed|otp|totp|pin_code|session_?id|client_assertion)$"
)
_SECRET_TEXT = re.compile(
    r"(?i:\b(?:bearer|dpop|basic|token)[ =:]+[a-z0-9._~+/-]{8,}=*)"
    r"|\beyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?"  # a JWS or the start of a JWE
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|\b(?:gh[opsur]_|github_pat_|glpat-|xox[abprs]-|sk-|sk_live_|rk_live_)[\w-]{16,}"
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)",  # user:password@ of a URL
    re.DOTALL,
)
_MAX_TEXT = 16_384
_MAX_DEPTH = 6
# What would move a terminal's cursor, colour it, forge a line or reorder text: C0 and C1 without
# tab, line separators, and the bidirectional controls (CVE-2021-42574).
_CONTROLS = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_MANY_LINES = frozenset({"exception", "stack"})

_handlers: Final = "midflight"
_TALKATIVE: Final = (
    "alembic",
    "asyncpg",
    "botocore",
    "h2",
    "hpack",
    "httpcore",
    "httpcore2",
    "httpx",
    "httpx2",
    "opentelemetry",
)


def configure(
    level: str = "info",
    *,
    form: Literal["auto", "json", "console"] = "auto",
    stream: TextIO | None = None,
) -> None:
    """Set up logging for this process. May be called again.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        form: `auto` is `console` on a terminal, else `json`.
        stream: where lines go; standard error by default, for standard output is for answers.
    """
    out = stream or sys.stderr
    on_terminal = out.isatty()
    colours = on_terminal and not os.environ.get("NO_COLOR")
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    console = form == "console" or (form == "auto" and on_terminal)
    last: list[Processor] = (
        [
            show_controls,
            structlog.dev.ConsoleRenderer(
                colors=colours,
                pad_event_to=28,
                exception_formatter=structlog.dev.plain_traceback,
            ),
        ]
        if console
        else [structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(out)
    handler.set_name(_handlers)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                redact,
                *last,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [old for old in root.handlers if old.get_name() != _handlers]
    root.addHandler(handler)
    root.setLevel(level.upper())
    # What libraries say of their own progress is no news of ours, and may hold what they carry:
    # URLs at the level `info`, headers at `debug`.
    for library in _TALKATIVE:
        logging.getLogger(library).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def redact(logger: Any, method: str, event: EventDict) -> EventDict:
    """A structlog processor: drop the values of secret keys, and secrets inside any text."""
    del logger, method
    return cast("dict[str, Any]", _clean(event, _MAX_DEPTH))


def show_controls(logger: Any, method: str, event: EventDict) -> EventDict:
    """A structlog processor: make control characters visible, for lines that a terminal shows."""
    del logger, method
    return {key: _visible(value, lines=key in _MANY_LINES) for key, value in event.items()}


def redact_text(text: str) -> str:
    """Text without what looks like a secret, cut to 16 KiB."""
    if len(text) > _MAX_TEXT:
        text = text[:_MAX_TEXT] + "…"
    return _SECRET_TEXT.sub(REDACTED, text)


def _clean(value: object, depth: int) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth == 0:
        return "…"
    match value:
        case bytes() | bytearray() | memoryview():
            return "[bytes]"  # keys, tokens or somebody's data
        case Mapping():
            held = cast("Mapping[object, object]", value)
            return {
                redact_text(str(key)): REDACTED if _is_secret(key) else _clean(item, depth - 1)
                for key, item in held.items()
            }
        case list() | tuple() | set() | frozenset():
            items = cast("Iterable[object]", value)
            return [_clean(item, depth - 1) for item in items]
        case _:
            return redact_text(str(value))


def _is_secret(key: object) -> bool:
    return _SECRET_KEYS.search(str(key).lower().replace("-", "_")) is not None


def _visible(value: object, *, lines: bool) -> object:
    if not isinstance(value, str):
        return value
    if lines:
        return "\n".join(_CONTROLS.sub(_escaped, line) for line in value.split("\n"))
    return _CONTROLS.sub(_escaped, value)


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


__all__ = ["REDACTED", "configure", "redact", "redact_text", "show_controls"]
