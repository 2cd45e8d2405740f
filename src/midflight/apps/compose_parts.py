"""The adapters of one plane, made by the settings and not started: a part of `compose.py`.

What stands here is what a test replaces to have a whole plane over other adapters.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial

from midflight import __version__
from midflight.adapters.clock import SystemClock
from midflight.adapters.fabric.local import LocalFabric
from midflight.adapters.keys.file import open_key_wrap, open_note_signer
from midflight.adapters.store.alone import alone
from midflight.adapters.store.ledger_sqlite import SqliteLedgerStore
from midflight.adapters.store.sqlite import SqliteStore
from midflight.adapters.telemetry.prometheus import PrometheusTelemetry
from midflight.adapters.upstream.mcp_http import McpHttpUpstream
from midflight.adapters.upstream.mcp_stdio import McpStdioUpstream
from midflight.adapters.upstream.passage import CallTimeouts
from midflight.apps.compose_keys import key_rings, mint
from midflight.apps.compose_spiffe import authority as spiffe_authority
from midflight.apps.settings import Settings
from midflight.apps.settings_sections import Upstream as UpstreamSettings
from midflight.domain.traits import Reach
from midflight.services.injection import Signers
from midflight.services.key_rings import KeyRings
from midflight.services.ports.authority import Authority
from midflight.services.ports.clock import Clock
from midflight.services.ports.fabric import Fabric
from midflight.services.ports.keys import KeyWrap, NoteSigner, Purpose, TokenSigner
from midflight.services.ports.leases import Leases
from midflight.services.ports.ledger_store import LedgerStore
from midflight.services.ports.store import Store
from midflight.services.ports.telemetry import Telemetry
from midflight.services.ports.upstream import Upstream


class Parts:
    """The adapters of one plane: what a test replaces."""

    def __init__(
        self,
        *,
        clock: Clock,
        store: Store,
        ledger_store: LedgerStore,
        fabric: Fabric,
        keys: KeyRings,
        token_signer: TokenSigner,
        note_signer: NoteSigner,
        wrap: KeyWrap,
        telemetry: Telemetry,
        upstreams: Mapping[str, Upstream],
        reaches: Mapping[str, Reach],
        authority: Authority,
        svid_signer: TokenSigner,
        wit_signer: TokenSigner | None = None,
        exposition: Callable[[], bytes] = bytes,
        leases: Leases | None = None,
        signers: Signers | None = None,
        alone: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """All are made and none is started; `exposition` gives the metrics page.

        `alone` keeps every other plane off the same state while this one runs.

        `leases` and `signers` take the place of the broker's.
        """
        self.leases = leases
        self.signers = signers
        self.clock = clock
        self.store = store
        self.ledger_store = ledger_store
        self.fabric = fabric
        self.keys = keys
        self.token_signer = token_signer
        self.note_signer = note_signer
        self.wrap = wrap
        self.telemetry = telemetry
        self.upstreams = upstreams
        self.reaches = reaches
        self.authority = authority
        self.svid_signer = svid_signer
        self.wit_signer = wit_signer
        self.exposition = exposition
        self.alone = alone


def parts(settings: Settings) -> Parts:
    """The adapters that the settings ask for.

    Raises:
        Misconfigured: the state directory or its keys are not usable.
    """
    clock = SystemClock()
    directory = settings.state.directory
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    telemetry = PrometheusTelemetry(
        [entry.name for entry in settings.upstream], version=__version__
    )
    key_files = directory / "keys"
    rings = key_rings(settings.keys, key_files, clock)
    return Parts(
        clock=clock,
        store=SqliteStore(directory / "midflight.sqlite3"),
        ledger_store=SqliteLedgerStore(directory / "ledger.sqlite3"),
        fabric=LocalFabric(),
        authority=spiffe_authority(settings, clock=clock),
        keys=rings,
        svid_signer=mint(rings, Purpose.JWT_SVID),
        wit_signer=mint(rings, Purpose.WIT_SVID) if settings.spiffe.experimental else None,
        token_signer=mint(rings, Purpose.ACCESS_TOKEN),
        note_signer=open_note_signer(key_files, origin=settings.identity.trust_domain),
        wrap=open_key_wrap(key_files),
        telemetry=telemetry,
        exposition=telemetry.exposition,
        alone=partial(alone, directory),
        upstreams={entry.name: _upstream(entry) for entry in settings.upstream},
        reaches={entry.name: entry.reach for entry in settings.upstream},
    )


def _upstream(entry: UpstreamSettings) -> Upstream:
    if entry.url is not None:
        return McpHttpUpstream(
            entry.name,
            entry.url,
            headers={name: value.read() for name, value in entry.headers.items()},
            tls=None if entry.ca is None else ssl.create_default_context(cafile=str(entry.ca)),
            http2=entry.http2,
            proxy=entry.proxy,
            timeouts=CallTimeouts(answer=float(entry.timeout)),
        )
    assert entry.command is not None
    return McpStdioUpstream(
        entry.name,
        entry.command,
        entry.args,
        env={name: value.read() for name, value in entry.env.items()},
        cwd=None if entry.cwd is None else str(entry.cwd),
        stateless=entry.stateless,
        timeouts=CallTimeouts(answer=float(entry.timeout)),
    )


__all__ = ["Parts", "parts"]
