"""The Workload API as a whole: its calls, on one socket that every local process may reach."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

from midflight.apps.server.peer import Peer
from midflight.apps.workload_api.calls import Calls
from midflight.apps.workload_api.changes import Changes
from midflight.apps.workload_api.descriptors import SERVICE, messages
from midflight.apps.workload_api.entitled import Attestation, Entitled
from midflight.apps.workload_api.front import Front
from midflight.apps.workload_api.handlers import Handlers, abort
from midflight.apps.workload_api.refused import Refused
from midflight.apps.workload_api.serving import serving
from midflight.domain.attestation import Process
from midflight.services.ports.bundles import Bundles
from midflight.services.ports.clock import Clock
from midflight.services.svids import Svids


class WorkloadApi:
    """Serves one socket. `changes.tell()` wakes its streams."""

    def __init__(
        self,
        *,
        trust_domain: str,
        attestation: Attestation,
        svids: Svids,
        bundles: Bundles,
        clock: Clock,
        refused: Callable[[str, str], None] = lambda _why, _who: None,
        wit: bool = False,
    ) -> None:
        """Nothing listens yet.

        `refused` is told why, and the user or process that was refused; `wit` serves the WIT-SVID
        profile, which is experimental and otherwise UNIMPLEMENTED (Workload API §7).
        """
        self._attestation = attestation
        self._clock = clock
        self._refused = refused
        self._wit = wit
        self._classes = messages()
        self.changes = Changes()
        self.entitled = Entitled(
            trust_domain=trust_domain,
            attestation=attestation,
            svids=svids,
            bundles=bundles,
            changes=self.changes,
        )
        attestation.on_changed(self.changes.tell)

    @asynccontextmanager
    async def serving(self, path: Path) -> AsyncGenerator[Front[Process]]:
        """Serve at `path` while the context lasts. `Misconfigured` if it is not usable."""
        async with serving(
            path, self._handler, admit=_process_of, token=self._clock.token
        ) as front:
            yield front

    def _handler(self, front: Front[Process]) -> grpc.GenericRpcHandler:
        async def failed(context: Any, error: Exception) -> None:
            if isinstance(error, Refused):
                process = front.behind(context.peer())
                self._refused(error.text, "unknown" if process is None else f"uid:{process.uid}")
            await abort(context, error)

        calls = Calls(
            attestation=self._attestation,
            entitled=self.entitled,
            process=front.behind,
            messages=self._classes,
        )
        made = Handlers(self._classes, failed)
        handlers = {
            "FetchX509SVID": made.stream("X509SVID", calls.fetch_x509_svid),
            "FetchX509Bundles": made.stream("X509Bundles", calls.fetch_x509_bundles),
            "FetchJWTSVID": made.unary("JWTSVID", calls.fetch_jwt_svid),
            "FetchJWTBundles": made.stream("JWTBundles", calls.fetch_jwt_bundles),
            "ValidateJWTSVID": made.unary("ValidateJWTSVID", calls.validate_jwt_svid),
        }
        if self._wit:
            handlers["FetchWITSVID"] = made.stream("WITSVID", calls.fetch_wit_svid)
            handlers["FetchWITBundles"] = made.stream("WITBundles", calls.fetch_wit_bundles)
        return grpc.method_handlers_generic_handler(SERVICE, handlers)


def _process_of(peer: Peer, _: asyncio.BaseTransport) -> Process | None:
    if peer.pid is None or peer.uid is None or peer.gid is None:
        return None
    return Process(pid=peer.pid, uid=peer.uid, gid=peer.gid, start=peer.process)


__all__ = ["WorkloadApi"]
