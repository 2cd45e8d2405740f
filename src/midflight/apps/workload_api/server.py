"""The gRPC server of the Workload API, on a private socket behind `front.py`.

Every call is wrapped, so that what a caller sees is a status and one sentence, never what
broke inside.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import grpc.aio
import structlog

from midflight.apps.workload_api.calls import Attestation, Calls, Refused
from midflight.apps.workload_api.changes import Changes
from midflight.apps.workload_api.descriptors import SERVICE, messages
from midflight.apps.workload_api.front import Front
from midflight.domain.errors import Forbidden, Interrupted, MidflightError
from midflight.services.mint_rates import TooOften
from midflight.services.ports.bundles import Bundles
from midflight.services.ports.clock import Clock
from midflight.services.svids import Svids

MAX_REQUEST_BYTES = 65_536
_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_send_message_length", 16 * 1_048_576),
    ("grpc.max_metadata_size", 16_384),
    ("grpc.absolute_max_metadata_size", 16_384),
    ("grpc.max_concurrent_streams", 32),
    ("grpc.max_connection_idle_ms", 300_000),
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.so_reuseport", 0),
)

log = structlog.get_logger(__name__)


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
    ) -> None:
        """Nothing listens yet. `refused` is told why, and the user or process that was refused."""
        self._trust_domain = trust_domain
        self._attestation = attestation
        self._svids = svids
        self._bundles = bundles
        self._clock = clock
        self._refused = refused
        self._classes = messages()
        self.changes = Changes()
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
        calls = Calls(
            trust_domain=self._trust_domain,
            attestation=self._attestation,
            svids=self._svids,
            bundles=self._bundles,
            changes=self.changes,
            process=front.process,
            messages=self._classes,
        )
        server = grpc.aio.server(options=_OPTIONS)
        server.add_generic_rpc_handlers((self._handler(calls, front),))
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

    def _handler(self, calls: Calls, front: Front) -> grpc.GenericRpcHandler:
        async def failed(context: Any, error: Exception) -> None:
            if isinstance(error, Refused):
                process = front.process(context.peer())
                self._refused(error.text, "unknown" if process is None else f"uid:{process.uid}")
            await _abort(context, error)

        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "FetchX509SVID": _stream(calls.fetch_x509_svid, self._of("X509SVID"), failed),
                "FetchX509Bundles": _stream(
                    calls.fetch_x509_bundles, self._of("X509Bundles"), failed
                ),
                "FetchJWTSVID": _unary(calls.fetch_jwt_svid, self._of("JWTSVID"), failed),
                "FetchJWTBundles": _stream(calls.fetch_jwt_bundles, self._of("JWTBundles"), failed),
                "ValidateJWTSVID": _unary(
                    calls.validate_jwt_svid, self._of("ValidateJWTSVID"), failed
                ),
            },
        )

    def _of(self, name: str) -> _Codec:
        return _Codec(
            self._classes[f"{name}Request"].FromString,
            self._classes[f"{name}Response"].SerializeToString,
        )


class _Codec(NamedTuple):
    decode: Any
    encode: Any


Failed = Callable[[Any, Exception], Awaitable[None]]


def _unary(act: Callable[[Any, Any], Awaitable[Any]], codec: _Codec, failed: Failed) -> Any:
    async def told(request: Any, context: Any) -> Any:
        try:
            return await act(request, context)
        except Exception as error:  # noqa: BLE001 -- each becomes a status
            await failed(context, error)

    return grpc.unary_unary_rpc_method_handler(
        told, request_deserializer=codec.decode, response_serializer=codec.encode
    )


def _stream(act: Callable[[Any, Any], AsyncGenerator[Any]], codec: _Codec, failed: Failed) -> Any:
    async def told(request: Any, context: Any) -> AsyncGenerator[Any]:
        try:
            async for answer in act(request, context):
                yield answer
        except Exception as error:  # noqa: BLE001 -- each becomes a status
            await failed(context, error)

    return grpc.unary_stream_rpc_method_handler(
        told, request_deserializer=codec.decode, response_serializer=codec.encode
    )


async def _abort(context: Any, error: Exception) -> None:
    match error:
        case Refused():
            await context.abort(error.status, error.text)
        case Forbidden() | Interrupted():
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, error.message)
        case TooOften():
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, error.message)
        case MidflightError():
            log.warning("workload_api_call_failed", why=error.message)
            await context.abort(grpc.StatusCode.UNAVAILABLE, error.message)
        case _:
            log.error("workload_api_call_failed", error=type(error).__name__)
            await context.abort(grpc.StatusCode.INTERNAL, "The call failed.")


__all__ = ["WorkloadApi"]
