"""The gRPC server of the Workload API, on a private socket behind `front.py`."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from midflight.apps.workload_api.calls import Calls
from midflight.apps.workload_api.changes import Changes
from midflight.apps.workload_api.descriptors import SERVICE, messages
from midflight.apps.workload_api.entitled import Attestation, Entitled
from midflight.apps.workload_api.front import Front
from midflight.apps.workload_api.handlers import OPTIONS, Handlers, abort
from midflight.apps.workload_api.refused import Refused
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
    async def serving(self, path: Path) -> AsyncGenerator[Front]:
        """Serve at `path` while the context lasts.

        Raises:
            Misconfigured: the path is not usable.
        """
        # Short, whatever the state directory is called: an address of a Unix socket has 107 bytes.
        private = Path(tempfile.mkdtemp(prefix="mf-wl-"))  # mode 0700
        backend = private / "s"
        front = Front(backend, token=self._clock.token)
        server = grpc.aio.server(options=OPTIONS)
        server.add_generic_rpc_handlers((self._handler(front),))
        try:
            server.add_insecure_port(f"unix:{backend}")
            await server.start()
            try:
                async with front.listening(path):
                    yield front
            finally:
                await server.stop(None)
        finally:
            shutil.rmtree(private, ignore_errors=True)

    def _handler(self, front: Front) -> grpc.GenericRpcHandler:
        async def failed(context: Any, error: Exception) -> None:
            if isinstance(error, Refused):
                process = front.process(context.peer())
                self._refused(error.text, "unknown" if process is None else f"uid:{process.uid}")
            await abort(context, error)

        calls = Calls(
            attestation=self._attestation,
            entitled=self.entitled,
            process=front.process,
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


__all__ = ["WorkloadApi"]
