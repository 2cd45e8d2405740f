"""The clients of one upstream: the shared one, and one for each run's client certificate.

A connection that was authenticated for one run carries no request of another, so each (run,
certificate) has a client of its own; a new certificate drains the connections of the one before.
Keys are loaded through memory (memfd_create(2)): they are in no file system.
Above: `mcp_http`. Below: an `HttpClient`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import Callable
from typing import Final

from midflight.adapters.upstream.http_client import Gate, HttpClient, HttpResponse
from midflight.adapters.upstream.passage import Passage
from midflight.adapters.upstream.placing import hear_nonce
from midflight.domain.errors import LeaseUnavailable
from midflight.services.ports.injection import NOTHING, Attachment, ClientCertificate

_UNAUTHORIZED: Final = 401


class Clients:
    """See the module. It also knows what was attached last to calls of each run."""

    def __init__(
        self,
        plain: HttpClient,
        make: Callable[[ssl.SSLContext], HttpClient],
        *,
        base: ssl.SSLContext | None,
    ) -> None:
        """`make` makes a client over a context; `base` holds the authorities to be trusted."""
        self.plain = plain
        self._make = make
        self._base = base
        self._certified: dict[tuple[str, str], HttpClient] = {}
        self._latest: dict[str, Attachment] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def note(self, run: str, attachment: Attachment) -> None:
        """What requests of the run beside its calls carry from now on."""
        self._latest[run] = attachment
        certificate = attachment.certificate
        serial = None if certificate is None else certificate.serial
        for key in [key for key in self._certified if key[0] == run and key[1] != serial]:
            self._certified.pop(key).drain()

    def seat(self, run: str) -> HttpClient:
        """The client of a run's requests."""
        return _SeatClient(self, run)

    def of(self, passage: Passage) -> HttpClient:
        """The client of one passage's requests."""
        if passage.attachment is NOTHING and not self._latest:
            return self.plain
        return _SeatClient(self, passage.seat.run)

    def attachment(self, run: str, gate: Gate) -> Attachment:
        """What goes with a request: what the call carries, or what the run carried last."""
        if isinstance(gate, Passage) and gate.attachment is not NOTHING:
            return gate.attachment
        return self._latest.get(run, NOTHING)

    def client(self, run: str, certificate: ClientCertificate | None) -> HttpClient:
        """The client whose connections may carry it."""
        if certificate is None:
            return self.plain
        key = (run, certificate.serial)
        found = self._certified.get(key)
        if found is None:
            found = self._certified[key] = self._make(_context(self._base, certificate))
        return found

    def release(self, lease: str, *, drain: bool) -> list[str]:
        """Send nothing with it any more; the runs that had it."""
        runs = [run for run, last in self._latest.items() if lease in last.leases]
        for run in runs:
            del self._latest[run]
            self._let_go(run, drain=drain)
        return runs

    def forget(self, run: str) -> None:
        """The run is over."""
        if self._latest.pop(run, None) is not None:
            self._let_go(run, drain=False)

    async def close(self) -> None:
        """Close every connection."""
        for run in {run for run, _ in self._certified}:
            self._let_go(run, drain=False)
        if self._closing:
            await asyncio.wait(self._closing)
        await self.plain.close()

    def _let_go(self, run: str, *, drain: bool) -> None:
        for key in [key for key in self._certified if key[0] == run]:
            client = self._certified.pop(key)
            if drain:
                client.drain()
                continue
            task = asyncio.get_running_loop().create_task(client.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


class _SeatClient:
    """An `HttpClient` that places what is attached."""

    __slots__ = ("_clients", "_run")

    def __init__(self, clients: Clients, run: str) -> None:
        self._clients = clients
        self._run = run

    async def send(
        self,
        method: bytes,
        headers: bytes,
        body: bytes,
        *,
        gate: Gate,
        replay: bool = False,
        attachment: Attachment = NOTHING,
    ) -> HttpResponse:
        """See `HttpClient.send`. A proof that lacks the upstream's nonce is made once more."""
        del attachment
        for _ in range(2):
            placed = self._clients.attachment(self._run, gate)
            response = await self._clients.client(self._run, placed.certificate).send(
                method, headers, body, gate=gate, replay=replay, attachment=placed
            )
            if not (placed.signers and hear_nonce(placed, response.header(b"dpop-nonce"))):
                return response
            # RFC 9449 §8: the request was looked at only so far, and nothing was done.
            wants = response.status == _UNAUTHORIZED and "use_dpop_nonce" in response.header(
                b"www-authenticate"
            )
            if not wants or _:
                return response
            response.close()
        raise AssertionError

    def drain(self) -> None:
        """It has no connections of its own."""

    async def close(self) -> None:
        """It has no connections of its own."""


def _context(base: ssl.SSLContext | None, certificate: ClientCertificate) -> ssl.SSLContext:
    if base is None:
        context = ssl.create_default_context()
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = base.minimum_version
        context.verify_flags = base.verify_flags
        authorities = b"".join(base.get_ca_certs(binary_form=True))
        if authorities:
            context.load_verify_locations(cadata=authorities)
    both = certificate.chain.strip() + b"\n" + certificate.key.strip() + b"\n"
    handle = os.memfd_create("midflight", os.MFD_CLOEXEC)
    try:
        with contextlib.closing(os.fdopen(handle, "wb", closefd=False)) as file:
            file.write(both)
        context.load_cert_chain(f"/proc/self/fd/{handle}")
    except (ssl.SSLError, OSError, ValueError):
        raise LeaseUnavailable(
            "A leased client certificate and its key cannot be used together.",
            hint="Look at what the backend issues: midflight credential test.",
        ) from None
    finally:
        os.ftruncate(handle, 0)
        os.close(handle)
    return context


__all__ = ["Clients"]
