"""Wiring of export: a sink and a task for each collector of the settings."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from midflight.adapters.export.file import FileSink
from midflight.adapters.export.otlp import OtlpSink
from midflight.adapters.export.syslog import Collector, SyslogSink
from midflight.apps.settings_export import Export
from midflight.services.export import Exported, Exporter, ExportStatus, Snapshots
from midflight.services.ports.clock import Clock
from midflight.services.ports.export import Sink
from midflight.services.ports.telemetry import Telemetry


class Exporting:
    """Every exporter of one plane."""

    def __init__(
        self,
        settings: Sequence[Export],
        *,
        ledger: Exported,
        store: Snapshots,
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        """Wire them; nothing is sent before `running`."""
        self.exporters = tuple(
            Exporter(
                each.name,
                sink(each),
                ledger=ledger,
                store=store,
                clock=clock,
                telemetry=telemetry,
                kinds=each.kinds,
                whole=each.whole,
            )
            for each in settings
        )

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Send while this is entered: one task each, so that none waits for another."""
        tasks = [asyncio.ensure_future(_run(each)) for each in self.exporters]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for each in self.exporters:
                await each.close()

    async def sweep(self) -> None:
        """Nothing is due: each exporter has its own task."""

    async def listing(self) -> Sequence[ExportStatus]:
        """Where each has got to."""
        return [await each.status() for each in self.exporters]


def sink(settings: Export) -> Sink:
    """The sink that the settings ask for."""
    if settings.file is not None:
        return FileSink(settings.file, settings.form)
    if settings.otlp is not None:
        trusted = None
        if settings.ca is not None:
            trusted = ssl.create_default_context(cafile=str(settings.ca))
        return OtlpSink(settings.otlp, tls=trusted)
    scheme, host, port, path = settings.target
    collector = Collector(host=host, port=port, tls=scheme == "tls", ca=settings.ca, path=path)
    return SyslogSink(collector, settings.form)


async def _run(exporter: Exporter) -> None:
    wait = 0.0
    while True:
        await asyncio.sleep(wait)
        wait = await exporter.step()


__all__ = ["Exporting", "sink"]
