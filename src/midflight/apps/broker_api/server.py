"""The Broker Endpoint (SPIFFE Broker Endpoint §3 to §5): mutual TLS on a Unix socket.

Both ends show X509-SVIDs. The endpoint's own is of `/midflight/broker`, which no workload can be
registered as, and is renewed at half of its life. A socket, and no address of a network: process
numbers mean something on this machine alone, so a broker in a PID namespace of its own is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

from midflight.apps.broker_api.calls import BrokerCalls
from midflight.apps.broker_api.descriptors import SERVICE, ErrorDetails, messages
from midflight.apps.server.peer import Peer, chain_of
from midflight.apps.server.tls import show, svid_context, trust
from midflight.apps.workload_api.changes import Changes
from midflight.apps.workload_api.entitled import Attestation, Entitled
from midflight.apps.workload_api.front import Front
from midflight.apps.workload_api.handlers import Handlers, abort
from midflight.apps.workload_api.refused import Refused
from midflight.apps.workload_api.serving import serving
from midflight.domain.errors import Unauthenticated
from midflight.domain.identity import own_id
from midflight.domain.records import Issued
from midflight.domain.spiffe import MAX_X509_TTL_S, X509Svid
from midflight.services.bundles import TrustBundles
from midflight.services.ports.authority import Authority
from midflight.services.ports.clock import Clock
from midflight.services.ports.processes import Processes
from midflight.services.ports.recorder import Recorder
from midflight.services.svid_callers import SvidCallers, SvidProof
from midflight.services.svids import Svids

MAX_CONNECTIONS = 16
"""Of one user. Each has 32 streams, and each stream two descriptors of its process."""
Chain = tuple[bytes, ...]
"""What a broker has shown: its certificate and those above it, DER."""


class BrokerApi:
    """Serves one socket, with an SVID of its own."""

    def __init__(
        self,
        *,
        grants: Mapping[str, frozenset[str]],
        callers: SvidCallers,
        attestation: Attestation,
        entitled: Entitled,
        svids: Svids,
        bundles: TrustBundles,
        authority: Authority,
        processes: Processes,
        changes: Changes,
        recorder: Recorder,
        clock: Clock,
        refused: Callable[[str, str], None] = lambda _why, _who: None,
    ) -> None:
        """Nothing listens yet.

        Args:
            grants: the workloads that each broker may represent, by SPIFFE ID.
            callers: reads what certificates prove.
            attestation: who the processes are.
            entitled: what they may have.
            svids: whether a broker is in good standing.
            bundles: whom the endpoint lets through.
            authority: signs the endpoint's own SVIDs.
            processes: those of this machine.
            changes: is told when a process has ended.
            recorder: of the endpoint's own SVIDs.
            clock: for their ends.
            refused: is told why, and who.
        """
        self._classes = messages()
        self._calls = BrokerCalls(
            grants=grants,
            broker=self._broker,
            attestation=attestation,
            entitled=entitled,
            svids=svids,
            processes=processes,
            changes=changes,
            clock=clock,
            messages=self._classes,
        )
        self._front: Front[Chain] | None = None
        self._callers = callers
        self._bundles = bundles
        self._authority = authority
        self._processes = processes
        self._recorder = recorder
        self._clock = clock
        self._refused = refused
        self._details = ErrorDetails()
        self._context = svid_context()
        self._svid: X509Svid | None = None
        self.id = own_id(bundles.trust_domain, "broker")

    @asynccontextmanager
    async def serving(self, path: Path) -> AsyncGenerator[Front[Chain]]:
        """Serve at `path` while the context lasts.

        Raises:
            Misconfigured: the path is not usable.
            Unavailable: there is no SVID to be had for the endpoint.
        """
        await self.renew()
        self._follow()
        self._bundles.on_changed(self._follow)
        async with serving(
            path,
            self._handler,
            admit=self._admit,
            token=self._clock.token,
            tls=self._context,
            max_of_one_user=MAX_CONNECTIONS,
        ) as front:
            yield front

    async def renew(self) -> None:
        """Have an SVID that has half of its life before it. `Unavailable` if there is none."""
        now, svid = self._clock.now(), self._svid
        if svid is not None and now < (svid.issued_at + svid.expires_at) / 2:
            return
        svid = await self._authority.issue(self.id, ttl_s=MAX_X509_TTL_S)
        ticket = self._recorder.append(
            Issued(
                at=now,
                what="x509-svid",
                id=svid.serial,
                subject=self.id,
                run=None,
                expires_at=svid.expires_at,
                proof="own",
            )
        )
        await ticket.durable()
        show(self._context, svid.chain, svid.key)
        self._svid = svid

    # Inside

    def _follow(self) -> None:
        trust(self._context, self._bundles.own.x509_authorities)

    def _admit(self, peer: Peer, transport: asyncio.BaseTransport) -> Chain | None:
        who = f"uid:{peer.uid}"
        if peer.pid is None or self._processes.elsewhere(peer.pid):
            self._refused("The broker counts processes otherwise than this machine.", who)
            return None
        if transport.get_extra_info("ssl_object").selected_alpn_protocol() != "h2":
            # RFC 9113 §3.2, and lest what is said in another protocol be taken for this one.
            self._refused("The broker has not agreed on HTTP/2.", who)
            return None
        chain = chain_of(transport)
        try:
            self._callers.of_chain(chain, self._clock.now())
        except Unauthenticated as error:
            self._refused(error.message, who)
            return None
        return chain

    def _broker(self, peer: str) -> SvidProof | None:
        # Verified anew, since an authority may have been taken out of the bundle meanwhile.
        chain = None if self._front is None else self._front.behind(peer)
        try:
            return None if chain is None else self._callers.of_chain(chain, self._clock.now())
        except Unauthenticated:
            return None

    def _handler(self, front: Front[Chain]) -> grpc.GenericRpcHandler:
        self._front = front  # before anybody can connect

        async def failed(context: Any, error: Exception) -> None:
            trailing: tuple[tuple[str, bytes], ...] = ()
            if isinstance(error, Refused):
                proof = self._broker(context.peer())
                self._refused(error.text, "unknown" if proof is None else proof.workload)
                code, _ = error.status.value
                trailing = self._details.trailing(code, error.text, error.reason)
            await abort(context, error, trailing)

        made, calls = Handlers(self._classes, failed), self._calls
        handlers = {
            "SubscribeToX509SVID": made.stream("SubscribeToX509SVID", calls.subscribe_to_x509_svid),
            "SubscribeToX509Bundles": made.stream(
                "SubscribeToX509Bundles", calls.subscribe_to_x509_bundles
            ),
            "FetchJWTSVID": made.unary("FetchJWTSVID", calls.fetch_jwt_svid),
            "SubscribeToJWTBundles": made.stream(
                "SubscribeToJWTBundles", calls.subscribe_to_jwt_bundles
            ),
        }
        return grpc.method_handlers_generic_handler(SERVICE, handlers)


__all__ = ["BrokerApi"]
