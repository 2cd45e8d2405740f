"""The gateway as people start it: a plane, its endpoints, its listeners, until it is stopped."""

from __future__ import annotations

import asyncio
import gc
import signal
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

import uvloop

from midflight.apps.compose import Plane
from midflight.apps.compose_injection import keep_memory_private
from midflight.apps.compose_parts import parts
from midflight.apps.compose_signals import signal_fronts
from midflight.apps.control.main import control_app
from midflight.apps.gateway.app import GatewayApp, Page
from midflight.apps.gateway.attest import AttestFront
from midflight.apps.gateway.endpoint import Endpoint
from midflight.apps.gateway.freezing import PATH as FREEZE
from midflight.apps.gateway.freezing import FreezeFront
from midflight.apps.gateway.held import HeldCalls
from midflight.apps.gateway.job_end import JobEnd
from midflight.apps.gateway.legacy import LegacyFront
from midflight.apps.gateway.listen import Listens
from midflight.apps.gateway.modern import ModernFront
from midflight.apps.gateway.noise import Noise
from midflight.apps.gateway.sessions import Sessions
from midflight.apps.hooks.main import hook_fronts
from midflight.apps.oauth.main import oauth_app
from midflight.apps.server.asgi import App
from midflight.apps.server.listeners import Bound, Listener, TcpListener, UnixListener
from midflight.apps.server.origin import OriginPolicy
from midflight.apps.server.serve import serving
from midflight.apps.server.tls import server_context, trust
from midflight.apps.settings import Settings
from midflight.apps.ssf.main import ssf_fronts, ssf_pages
from midflight.wire import json

NOISE_S = 10.0
GC_THRESHOLDS = (50_000, 20, 100)
"""Rarer collections: frozen values make few cycles, and a full one stops every action."""


@asynccontextmanager
async def serving_plane(plane: Plane) -> AsyncGenerator[tuple[Bound, ...]]:
    """Serve a plane that is running: the gateway, the control socket, the control API."""
    settings = plane.settings
    noise = Noise(recorder=plane.ledger, clock=plane.clock, telemetry=plane.telemetry)
    sessions = Sessions(plane.clock.token)
    held = HeldCalls(plane.clock.token)
    app = gateway_app(plane, noise=noise, sessions=sessions, held=held)
    listeners: list[Listener] = [
        TcpListener(
            name="gateway",
            host=settings.gateway.listen.host,
            port=settings.gateway.listen.port,
            tls=gateway_tls(plane),
            app=app,
        ),
        *control_listeners(plane),
    ]
    ticking = asyncio.ensure_future(_tick(noise))
    waking = asyncio.ensure_future(plane.waiting[1].run())
    try:
        async with (
            plane.spiffe.serving(),
            serving(
                listeners, settings.gateway.limits.of_server(), telemetry=plane.telemetry
            ) as bound,
        ):
            yield bound
    finally:
        ticking.cancel()
        waking.cancel()
        plane.waiting[1].close()
        held.close()
        sessions.close()
        noise.flush()


def gateway_tls(plane: Plane) -> ssl.SSLContext | None:
    """The context of the gateway's listener, which follows the bundles in force."""
    tls = plane.settings.gateway.tls
    if tls is None:
        return None
    context = server_context(
        tls.certificate,
        tls.key,
        now=time.time(),
        client_ca=tls.client_ca,
        client_svids=tls.svids,
    )
    if tls.svids:
        bundles = plane.spiffe.bundles

        def follow() -> None:
            for domain in (bundles.trust_domain, *bundles.federated()):
                bundle = bundles.bundle(domain)
                trust(context, () if bundle is None else bundle.x509_authorities)

        follow()
        bundles.on_changed(follow)
    return context


def gateway_app(plane: Plane, *, noise: Noise, sessions: Sessions, held: HeldCalls) -> GatewayApp:
    """The gateway's ASGI app over a plane."""
    settings = plane.settings
    names = [entry.name for entry in settings.upstream]
    together = {"/mcp": names, **{f"/mcp/{name}": [name] for name in names}}
    endpoints = {
        path: Endpoint(
            path=path,
            upstreams=covered,
            catalogue=plane.catalogue,
            listing=plane.listing,
            guard=plane.guard,
            noise=noise,
            waiting=plane.waiting[1],
        )
        for path, covered in together.items()
    }
    return GatewayApp(
        endpoints=endpoints,
        identity=plane.identity,
        origins=OriginPolicy(
            settings.gateway.allowed_hosts,
            settings.gateway.allowed_origins,
            url=settings.public_url,
        ),
        modern=ModernFront(
            held=held, listens=Listens(plane.notices, plane.listing), listing=plane.listing
        ),
        legacy=LegacyFront(sessions=sessions, notices=plane.notices, listing=plane.listing),
        noise=noise,
        pages=pages(plane),
        public_url=settings.public_url,
        max_body=settings.gateway.limits.body_bytes,
        oauth=oauth_app(plane, noise=noise),
        attest=AttestFront(plane.attesting.joining, noise),
        job_end=JobEnd(identity=plane.identity, job_runs=plane.job_runs),
        fronts=fronts(plane, noise=noise),
    )


def fronts(plane: Plane, *, noise: Noise) -> dict[str, App]:
    """Doors that find out themselves who calls, by first segment."""
    found: dict[str, App] = {
        **hook_fronts(plane, noise=noise),
        **ssf_fronts(plane, noise=noise),
        **signal_fronts(plane, noise=noise),
        FREEZE: FreezeFront(plane, public_url=plane.settings.public_url, noise=noise),
    }
    if plane.settings.approvals.page:
        found["/approve"] = plane.approvers.front(noise=noise)
    return found


def pages(plane: Plane) -> dict[str, Page]:
    """The plain pages: health, readiness, metrics."""

    async def health() -> tuple[int, bytes, bytes]:
        return 200, b"application/json", b'{"status":"alive"}'

    async def ready() -> tuple[int, bytes, bytes]:
        problems = [
            name
            for name, good in (
                ("ledger", plane.ledger.available),
                ("policy", plane.engine.version != "none"),
            )
            if not good
        ]
        body = json.encode({"status": "not ready" if problems else "ready", "missing": problems})
        return (503 if problems else 200), b"application/json", body

    async def metrics() -> tuple[int, bytes, bytes]:
        plane.telemetry.gauge("flights", plane.interruption.in_flight)
        return 200, b"text/plain; version=0.0.4; charset=utf-8", plane.parts.exposition()

    async def bundle() -> tuple[int, bytes, bytes]:
        return 200, b"application/json", plane.spiffe.bundle_page()

    found: dict[str, Page] = {"/healthz": health, "/readyz": ready, "/spiffe/bundle": bundle}
    found |= ssf_pages(plane)
    if plane.settings.telemetry.metrics:
        found["/metrics"] = metrics
    return found


def control_listeners(plane: Plane) -> list[Listener]:
    """The control socket, and the control API on loopback if it is configured."""
    settings = plane.settings
    app = control_app(plane)
    found: list[Listener] = [
        UnixListener(name="control", path=str(settings.control_socket), mode=0o600, app=app)
    ]
    if settings.control.listen is not None:
        address = settings.control.listen
        found.append(TcpListener(name="control-api", host=address.host, port=address.port, app=app))
    return found


async def _tick(noise: Noise) -> None:
    while True:
        await asyncio.sleep(NOISE_S)
        noise.flush()


def serve(settings: Settings, *, on_ready: Callable[[Sequence[Bound]], None] | None = None) -> None:
    """Run a plane until SIGINT or SIGTERM; `on_ready` is told where it listens.

    Raises:
        Misconfigured, StoreUnavailable, LedgerUnavailable: it cannot start; nothing was served.
    """
    keep_memory_private()
    uvloop.run(_serve(settings, on_ready or (lambda _: None)))


async def _serve(settings: Settings, on_ready: Callable[[Sequence[Bound]], None]) -> None:
    plane = Plane(settings, parts(settings))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with plane.running(), serving_plane(plane) as bound:
        # What exists now stays until the end: no collection needs to look at it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        on_ready(bound)
        await stop.wait()


__all__ = ["control_listeners", "gateway_app", "pages", "serve", "serving_plane"]
