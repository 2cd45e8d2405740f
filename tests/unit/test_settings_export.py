"""`[[export]]`: where events go, said once and rightly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from midflight.apps.settings_export import Export


@pytest.mark.parametrize(
    ("syslog", "target"),
    [
        ("tls://logs.example.org", ("tls", "logs.example.org", 6514, None)),
        ("tcp://logs.example.org:1514", ("tcp", "logs.example.org", 1514, None)),
        ("tcp://[::1]", ("tcp", "::1", 601, None)),
        ("unix:///dev/log", ("unix", "", 0, Path("/dev/log"))),
    ],
)
def test_where_a_collector_listens(syslog: str, target: tuple[Any, ...]) -> None:
    assert Export(name="siem", syslog=syslog).target == target


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({}, "needs exactly one of file, syslog and otlp"),
        ({"file": "a", "otlp": "http://127.0.0.1:4318"}, "needs exactly one"),
        ({"syslog": "udp://logs.example.org:514"}, "is not tcp://host:port"),
        ({"syslog": "tls://user@logs.example.org"}, "is not tcp://host:port"),
        ({"syslog": "tls://logs.example.org/path"}, "is not tcp://host:port"),
        ({"syslog": "unix://relative/log"}, "is not tcp://host:port"),
        ({"syslog": "tcp://"}, "is not tcp://host:port"),
        ({"file": "a", "kinds": ["outcomes"]}, "outcomes: no such records"),
        ({"file": "a", "form": "leef"}, "Input should be 'ocsf' or 'cef'"),
        ({"file": "a", "name": "Our SIEM"}, "is not 1 to 32 lower-case letters"),
    ],
)
def test_what_is_wrong_is_said(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Export(**{"name": "siem", **given})
    assert problem in str(refused.value)
