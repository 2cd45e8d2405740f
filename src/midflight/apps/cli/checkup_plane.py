"""Check-ups of the plane: whether it runs and can, its upstreams, its ledger, who shares a user."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from midflight.apps.cli.checkup_open import open_questions
from midflight.apps.cli.finding import Finding, fail, ok, warn
from midflight.apps.control.client import ControlClient
from midflight.domain.errors import MidflightError, Unavailable

if TYPE_CHECKING:
    from midflight.apps.settings import Settings
    from midflight.apps.settings_sections import Upstream
    from midflight.apps.settings_values import Address

_CONNECT_S = 3.0
# Verified whole by the doctor up to here, in a second or so.
_MAX_VERIFIED = 50_000


def plane(settings: Settings, client: ControlClient) -> Iterator[Finding]:
    """All of them; what a running plane knows better is asked of it."""
    try:
        health: dict[str, Any] | None = client.get("/v1/health")
    except Unavailable as error:
        health = None
        yield warn("plane", error.message, error.hint)
    except MidflightError as error:
        health = None
        yield fail("plane", error.message, error.hint)
    if health is None:
        yield _port("gateway", settings.gateway.listen)
        if settings.control.listen is not None:
            yield _port("control API", settings.control.listen)
        for upstream in settings.upstream:
            yield _upstream(upstream)
    else:
        yield _health(health)
        yield from _leases(health)
        yield _memory(health)
        yield from _reached(client)
        yield from open_questions(client)
    if not settings.upstream:
        yield warn("upstreams", "none is configured", "Add an [[upstream]] to midflight.toml.")
    yield _ledger(settings)
    yield _sharing(settings, client if health is not None else None)


def _health(health: dict[str, Any]) -> Finding:
    if health["ready"]:
        return ok("plane", f"runs on {health['url']}, policies {health['policy'][:12]}")
    missing = "the ledger takes no records" if not health["ledger"] else "there is no policy"
    return fail("plane", f"runs and denies everything: {missing}", "See its log.")


def _leases(health: dict[str, Any]) -> Iterator[Finding]:
    if stuck := health["leases_stuck"]:
        yield fail(
            "leases",
            f"{stuck} could not be taken back at their backend",
            "midflight lease list says why; they are tried until they are gone.",
        )
    if static := health["static_secrets"]:
        yield warn(
            "static secrets",
            f"nothing ends these by itself: {', '.join(static)}",
            "Replace them by a backend that makes short-lived credentials.",
        )


def _memory(health: dict[str, Any]) -> Finding:
    """It holds leased credentials and keys, and a dump would hold them as well."""
    if health["private_memory"]:
        return ok("memory", "of the plane is never dumped, nor shown to its own user")
    return fail("memory", "of the plane could be dumped", "Start it with `midflight up`.")


def _port(name: str, address: Address) -> Finding:
    host = "127.0.0.1" if address.host == "localhost" else address.host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, address.port))
        except OSError as error:
            return fail(
                f"{name} port",
                f"cannot listen on {address}: {error.strerror}",
                "Stop what holds it, or set another in midflight.toml.",
            )
    return ok(f"{name} port", f"{address} is free")


def _upstream(upstream: Upstream) -> Finding:
    subject = f"upstream {upstream.name}"
    if upstream.command is not None:
        path = upstream.env["PATH"].read() if "PATH" in upstream.env else None
        if shutil.which(upstream.command, path=path) is None:
            return fail(subject, f"there is no program {upstream.command}", "Give its full path.")
        return ok(subject, f"{upstream.command} is there; not started")
    parts = urlsplit(upstream.url or "")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=_CONNECT_S).close()
    except OSError as error:
        why = error.strerror or type(error).__name__
        return warn(subject, f"cannot be reached: {why}", "Start it, or check its url.")
    return ok(subject, f"{parts.hostname}:{port} accepts connections")


def _reached(client: ControlClient) -> Iterator[Finding]:
    for entry in client.get("/v1/upstreams"):
        subject = f"upstream {entry['name']}"
        if entry["trouble"]:
            yield warn(subject, entry["trouble"], "Start it, or check its settings.")
        else:
            yield ok(subject, "answers")


def _ledger(settings: Settings) -> Finding:
    from midflight.apps.cli.ledger import LEDGER_NAME
    from midflight.apps.compose_offline import opened_ledger, verifier_key_beside
    from midflight.services.ledger_verify import verify

    path = settings.state.directory / LEDGER_NAME
    if not path.exists():
        return ok("ledger", "none yet")
    try:
        with opened_ledger(path) as reader:
            size = reader.size()
            if size > _MAX_VERIFIED:
                return ok("ledger", f"{size:,} entries; `midflight ledger verify` looks at each")
            notes = reader.checkpoints()
            key = verifier_key_beside(path)
            report = verify(reader.entries(), notes, verifier_key=key, published=None)
    except MidflightError as error:
        return fail("ledger", error.message, error.hint)
    if not report.ok:
        return fail("ledger", report.problems[0].text, "`midflight ledger verify` names them all.")
    return ok("ledger", f"{report.entries:,} entries, unchanged")


def _sharing(settings: Settings, client: ControlClient | None) -> Finding:
    """An agent of the operator's own user can do what the operator can, and no socket can tell."""
    subject = "shared user"
    advice = "Run agents as users of their own, and register them with --uid."
    mine = ", ".join(f"{name} ({uid})" for uid, name in sorted(settings.control.operators.items()))
    if os.geteuid() not in settings.control.operators:
        return warn(
            subject,
            f"you (uid {os.geteuid()}) are no operator; {mine} are",
            "Call as one of them, or change [control] operators.",
        )
    if client is None:
        return warn(subject, f"an agent that runs as {mine} could act as operator", advice)
    without = [entry["id"] for entry in client.get("/v1/workloads") if entry["uid"] is None]
    if without:
        return warn(
            subject,
            f"{len(without)} workloads have no user of their own; if one runs as {mine}, it could"
            " act as operator",
            advice,
        )
    return ok(subject, "every workload has a user of its own")


__all__ = ["plane"]
