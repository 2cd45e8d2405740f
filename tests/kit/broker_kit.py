"""A plane that serves the Broker API, and a broker that speaks it: `ssl` of Python, and grpcio.

grpcio verifies names of hosts and not SPIFFE IDs, so the TLS of the client is Python's own, and
what passes through it is grpcio's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Generator, Sequence
from pathlib import Path
from typing import Any

import grpc
from control_kit import RunningPlane, running_plane
from thread_kit import in_a_thread

from midflight.apps.broker_api.descriptors import messages
from midflight.apps.server.tls import show
from midflight.domain.attestation import Entry
from midflight.domain.identity import Author
from midflight.domain.spiffe import X509Svid

AUTHOR = Author(name="olivia", proof="test")
DOMAIN = "midflight.internal"
ENDPOINT = f"spiffe://{DOMAIN}/midflight/broker"
PROXY = f"spiffe://{DOMAIN}/infra/proxy"
STRANGER = f"spiffe://{DOMAIN}/infra/stranger"
TRIAGE = f"spiffe://{DOMAIN}/agents/triage"
HEADER = (("broker.spiffe.io", "true"),)
PID_TYPE = "type.googleapis.com/spiffe.broker.WorkloadPIDReference"
CLASSES = messages()


class House:
    """A plane that serves its Broker API at `socket`."""

    def __init__(self, plane: RunningPlane, socket_path: str) -> None:
        self.plane = plane
        self.socket = socket_path
        self._svids: dict[str, X509Svid] = {}

    def svid(self, workload: str = PROXY) -> X509Svid:
        """What the Workload API would give that workload; one for all of a test."""
        if workload not in self._svids:
            entry = Entry(id="entry_kit", spiffe_id=workload, selectors=frozenset())
            self._svids[workload] = self.plane.do(
                lambda: self.plane.plane.spiffe.svids.x509(entry, proof="test")
            )
        return self._svids[workload]

    def context(self, svid: X509Svid | None) -> ssl.SSLContext:
        """TLS of a client that shows an SVID and trusts our bundle."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.check_hostname = False
        made.verify_mode = ssl.CERT_REQUIRED
        made.set_alpn_protocols(["h2"])
        for der in self.plane.plane.spiffe.bundles.own.x509_authorities:
            made.load_verify_locations(cadata=der)
        if svid is not None:
            show(made, svid.chain, svid.key)
        return made

    def connect(self, svid: X509Svid | None) -> ssl.SSLSocket:
        """A connection whose handshake is over. `ssl.SSLError` or `OSError` if it is refused."""
        raw = socket.socket(socket.AF_UNIX)
        try:
            raw.settimeout(30)
            raw.connect(self.socket)
            return self.context(svid).wrap_socket(raw)
        except BaseException:
            raw.close()
            raise

    @contextlib.contextmanager
    def channel(self, svid: X509Svid) -> Generator[grpc.Channel]:
        """A gRPC channel of a broker that shows an SVID."""
        with tempfile.TemporaryDirectory(prefix="mf-") as folder:
            context = self.context(svid)

            @contextlib.asynccontextmanager
            async def serve(_: asyncio.AbstractEventLoop) -> AsyncGenerator[str]:
                relay = Relay(self.socket, context)
                async with await asyncio.start_unix_server(relay.accepted, f"{folder}/s"):
                    yield f"unix:{folder}/s"
                await relay.close()

            with (
                in_a_thread(serve, name="broker") as address,
                grpc.insecure_channel(address) as channel,
            ):
                yield channel


class Relay:
    """Brings what is plain here through TLS to the endpoint, whose name it verifies."""

    def __init__(self, path: str, context: ssl.SSLContext) -> None:
        self._path = path
        self._context = context
        self._tasks: set[asyncio.Task[None]] = set()

    async def accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            far_reader, far_writer = await asyncio.open_unix_connection(
                self._path, ssl=self._context, server_hostname="broker"
            )
            try:
                shown = far_writer.get_extra_info("peercert")["subjectAltName"]
                assert shown == (("URI", ENDPOINT),), shown
                ways = [
                    asyncio.ensure_future(_pump(reader, far_writer)),
                    asyncio.ensure_future(_pump(far_reader, writer)),
                ]
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
            finally:
                far_writer.transport.abort()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def close(self) -> None:
        """End every connection."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(65_536):
            writer.write(chunk)
            await writer.drain()


def packed(pid: int, *, kind: str = PID_TYPE) -> Any:
    """A reference to a process."""
    made = CLASSES["WorkloadReference"]()
    made.reference.type_url = kind
    made.reference.value = CLASSES["WorkloadPIDReference"](pid=pid).SerializeToString()
    return made


def fetch(channel: grpc.Channel, *, metadata: Any = HEADER, **fields: Any) -> Any:
    """`FetchJWTSVID`."""
    method = channel.unary_unary(
        "/spiffe.broker.API/FetchJWTSVID",
        request_serializer=CLASSES["FetchJWTSVIDRequest"].SerializeToString,
        response_deserializer=CLASSES["FetchJWTSVIDResponse"].FromString,
    )
    fields.setdefault("audience", ["billing"])
    return method(CLASSES["FetchJWTSVIDRequest"](**fields), metadata=metadata, timeout=30)


@contextlib.contextmanager
def subscribe(channel: grpc.Channel, name: str, **fields: Any) -> Generator[Any]:
    """The answers of `SubscribeTo…`."""
    method = channel.unary_stream(
        f"/spiffe.broker.API/SubscribeTo{name}",
        request_serializer=CLASSES[f"SubscribeTo{name}Request"].SerializeToString,
        response_deserializer=CLASSES[f"SubscribeTo{name}Response"].FromString,
    )
    answers = method(CLASSES[f"SubscribeTo{name}Request"](**fields), metadata=HEADER, timeout=30)
    try:
        yield answers
    finally:
        answers.cancel()


@contextlib.contextmanager
def workload() -> Generator[subprocess.Popen[bytes]]:
    """A process of our own user that waits until it is killed."""
    script = "import sys; sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def broker_house(directory: Path, *, workloads: Sequence[str] = (TRIAGE,)) -> Generator[House]:
    """A plane where PROXY may represent these workloads, and TRIAGE is our own user."""
    folder = tempfile.mkdtemp(prefix="mf-")
    named = ", ".join(f'"{each}"' for each in workloads)
    extra = (
        f'[spiffe]\nexperimental = true\nsocket = "{folder}/w.sock"\n'
        f'[spiffe.broker]\nsocket = "{folder}/b.sock"\n'
        f'grants = [{{ broker = "{PROXY}", workloads = [{named}] }}]\n'
    )
    with running_plane(directory, extra=extra) as running:
        for each in (PROXY, STRANGER, TRIAGE):
            running.register(each)
        running.client.post("/v1/entries", spiffe_id=TRIAGE, selectors=[f"unix:uid:{os.geteuid()}"])
        serving = running.plane.spiffe.serving()
        running.do(serving.__aenter__)
        try:
            yield House(running, f"{folder}/b.sock")
        finally:
            running.do(lambda: serving.__aexit__(None, None, None))


__all__ = [
    "AUTHOR",
    "CLASSES",
    "DOMAIN",
    "ENDPOINT",
    "HEADER",
    "PROXY",
    "STRANGER",
    "TRIAGE",
    "House",
    "broker_house",
    "fetch",
    "packed",
    "subscribe",
    "workload",
]
