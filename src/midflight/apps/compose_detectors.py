"""Wires the detectors that need no baseline, and what else finds something, to detection."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from midflight.adapters.injection_text.toolwall_rules import ToolwallRules
from midflight.domain.errors import Misconfigured
from midflight.domain.sequence import Rule
from midflight.services.broker import Broker
from midflight.services.canaries import Canaries
from midflight.services.catalogue import Catalogue
from midflight.services.detectors.plain import Plain
from midflight.services.identity import Identity
from midflight.services.suspicion import Suspicion
from midflight.services.telling import Findings
from midflight.wire import sequences_file

if TYPE_CHECKING:
    from midflight.apps.compose import Plane

FILE = "sequences.toml"


def sequence_rules(directory: Path | None = None) -> tuple[Rule, ...]:
    """Midflight's own rules of sequences, and those of `sequences.toml` in a policy directory.

    Raises:
        Misconfigured: the file cannot be read, or has problems; each is named.
    """
    own = files("midflight.services.detectors").joinpath(FILE).read_text("utf-8")
    rules = sequences_file.parse(own, name=FILE)
    path = None if directory is None else directory / FILE
    if path is None or not path.is_file():
        return rules
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise Misconfigured(f"{path} cannot be read as text in UTF-8.") from None
    return sequences_file.parse(text, name=str(path), base=rules)


def watch(
    plain: Plain,
    findings: Findings,
    *,
    canaries: Canaries,
    catalogue: Catalogue,
    broker: Broker,
    identity: Identity | None = None,
) -> Findings:
    """Let what is no detector of events say what it finds, through `findings`."""
    canaries.tell(findings.tell)
    broker.tell(findings.tell)
    plain.drift.watch(findings.tell, catalogue.drifted)
    catalogue.on_changed(plain.drift.changed)
    plain.elsewhere.watch(findings.tell)
    if identity is not None:
        identity.on_stolen(plain.elsewhere.stolen)
    return findings


def watch_plane(plane: Plane) -> None:
    """The same for a whole plane."""
    watch(
        plane.watching.plain,
        plane.watching.findings,
        canaries=plane.canaries,
        catalogue=plane.catalogue,
        broker=plane.broker,
        identity=plane.identity,
    )
    chosen = plane.settings.injection_text
    if chosen.rules == "toolwall":
        plane.watching.suspicion = suspicion = Suspicion(
            ToolwallRules(threshold=chosen.threshold),
            tell=plane.watching.findings.tell,
            runs=plane.runs,
            telemetry=plane.telemetry,
        )
        plane.guard.observing.suspect_with(suspicion)


__all__ = ["FILE", "sequence_rules", "watch", "watch_plane"]
