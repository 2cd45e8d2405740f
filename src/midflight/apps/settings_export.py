"""`[[export]]`: who is told of what is in the ledger, and in which form.

    [[export]]
    name = "siem"
    syslog = "tls://logs.example.org:6514"
    form = "cef"

One of `file`, `syslog` and `otlp` says where. Nothing is dropped for a collector that is slow or
away: the ledger keeps it, and `midflight export list` says how much waits.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Self, get_args
from urllib.parse import urlsplit

from pydantic import field_validator, model_validator

from midflight.apps.settings_sections import ExistingFile, HttpUrl, RelativePath, Section
from midflight.domain.records import Record
from midflight.wire.export.lines import Form

_NAME = re.compile(r"[a-z0-9_]{1,32}\Z")
_PORTS = {"tcp": 601, "tls": 6514}
"""Of RFC 6587 and RFC 5425."""
KINDS = frozenset(str(kind.__struct_config__.tag) for kind in get_args(Record))


class Export(Section):
    """`[[export]]`: one collector."""

    name: str
    file: RelativePath | None = None
    # tcp://host:601, tls://host:6514, unix:///dev/log. Not udp, which loses events unsaid.
    syslog: str | None = None
    # An OpenTelemetry collector: http://127.0.0.1:4318. Headers: OTEL_EXPORTER_OTLP_HEADERS.
    otlp: HttpUrl | None = None
    # PEM file of the authorities that sign the collector's certificate; default: the system's.
    ca: ExistingFile | None = None
    # How a line is written, for file and syslog.
    form: Form = Form.OCSF
    # Which records, by tag (`midflight ledger tail` shows them); default: all.
    kinds: tuple[str, ...] = ()
    # Where a new collector begins: with the whole ledger, or with what comes from now on.
    whole: bool = False

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        if _NAME.match(value) is None:
            raise ValueError("is not 1 to 32 lower-case letters, digits and underscores")
        return value

    @field_validator("syslog")
    @classmethod
    def _check_syslog(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme == "unix" and parts.path.startswith("/") and not parts.netloc:
            return value
        port = parts.port  # ValueError if it is none
        is_address = parts.scheme in _PORTS and parts.hostname and not parts.path and port != 0
        if not is_address or parts.username is not None or parts.query:
            raise ValueError("is not tcp://host:port, tls://host:port or unix:///path")
        return value

    @field_validator("kinds")
    @classmethod
    def _check_kinds(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = sorted(set(value) - KINDS)
        if unknown:
            raise ValueError(f"{', '.join(unknown)}: no such records; there are {sorted(KINDS)}")
        return value

    @model_validator(mode="after")
    def _check_whole(self) -> Self:
        if sum(place is not None for place in (self.file, self.syslog, self.otlp)) != 1:
            raise ValueError("needs exactly one of file, syslog and otlp")
        if self.ca is not None and self.file is not None:
            raise ValueError("ca is for syslog by tls and for otlp")
        return self

    @property
    def target(self) -> tuple[str, str, int, Path | None]:
        """Scheme, host, port and path of `syslog`."""
        assert self.syslog is not None
        parts = urlsplit(self.syslog)
        if parts.scheme == "unix":
            return parts.scheme, "", 0, Path(parts.path)
        return parts.scheme, parts.hostname or "", parts.port or _PORTS[parts.scheme], None


__all__ = ["KINDS", "Export"]
