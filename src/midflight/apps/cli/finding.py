"""What a check-up of `midflight doctor` says: fine, worth knowing or wrong; and what helps."""

from __future__ import annotations

import enum

from midflight.domain.value import Value


class Health(enum.StrEnum):
    """How a thing is. Only `fail` makes the doctor's exit code 1."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(Value):
    """One line of the doctor. `help` is empty when nothing needs doing."""

    health: Health
    subject: str
    text: str
    help: str = ""


def ok(subject: str, text: str) -> Finding:
    """It is fine."""
    return Finding(health=Health.OK, subject=subject, text=text)


def warn(subject: str, text: str, advice: str) -> Finding:
    """It works and is worth knowing."""
    return Finding(health=Health.WARN, subject=subject, text=text, help=advice)


def fail(subject: str, text: str, advice: str) -> Finding:
    """It does not work, or does not protect."""
    return Finding(health=Health.FAIL, subject=subject, text=text, help=advice)


__all__ = ["Finding", "Health", "fail", "ok", "warn"]
