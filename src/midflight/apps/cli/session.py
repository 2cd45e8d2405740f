"""What every verb needs: which settings file was meant, and the plane that runs by it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from midflight.apps.control.client import ControlClient
    from midflight.apps.settings import Settings


@dataclass(frozen=True, slots=True)
class Session:
    """The global options of one invocation."""

    config: Path | None = None

    @staticmethod
    def of(context: typer.Context) -> Session:
        """The session of a running command."""
        found = context.find_object(Session)
        return found if found is not None else Session()

    def settings_file(self) -> Path:
        """The settings file. `Misconfigured` if there is none."""
        from midflight.apps import settings_file

        return settings_file.find(self.config)

    def settings(self) -> Settings:
        """The settings, checked. `Misconfigured` with every problem."""
        from midflight.apps import settings

        return settings.load(self.settings_file())

    def client(self, *, timeout_s: float | None = None) -> ControlClient:
        """The running plane, waited for that long.

        Does not validate the settings: stopping an agent must not wait.
        """
        from midflight.apps import settings_file
        from midflight.apps.control.client import ControlClient

        path = settings_file.control_socket(self.settings_file())
        return (
            ControlClient(path) if timeout_s is None else ControlClient(path, timeout_s=timeout_s)
        )


def segment(text: str) -> str:
    """Text as one segment of a path of the control API."""
    from urllib.parse import quote

    return quote(text, safe="")


def workload_id(client: ControlClient, text: str) -> str:
    """A SPIFFE ID as given, or a path such as `agents/triage` in the plane's trust domain."""
    if text.startswith("spiffe://"):
        return text
    return f"spiffe://{client.get('/v1/health')['trust_domain']}/{text.lstrip('/')}"


__all__ = ["Session", "segment", "workload_id"]
