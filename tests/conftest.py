"""What every test shares."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

settings.register_profile(
    "default", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=100
)
settings.register_profile("long", parent=settings.get_profile("default"), max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture
def anyio_backend() -> str:
    """Midflight runs on asyncio alone."""
    return "asyncio"


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """A command that a test runs in this process sets up the log, and the next test reads its own.

    pytest puts handlers of its own on the root and takes them off: only what was added goes.
    """
    root = logging.getLogger()
    level = root.level
    yield
    if structlog.is_configured():
        for handler in [one for one in root.handlers if one.get_name() == "midflight"]:
            root.removeHandler(handler)
        root.setLevel(level)
        structlog.reset_defaults()
