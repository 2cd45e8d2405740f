"""What each call of the Broker API does, as SPIFFE Broker API §4 to §6 say.

Every answer is in the context of one process, which a reference names by its number. The number is
all that is taken from the broker: what that process is, the kernel and the attestors say. A stream
ends with the process, and with the broker: its certificate's end, its revocation.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import aclosing, contextmanager
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from midflight.apps.broker_api.descriptors import PID_REFERENCE
from midflight.apps.workload_api import messages as made_of
from midflight.apps.workload_api.changes import Changes
from midflight.apps.workload_api.entitled import Ask, Asked, Attestation, Entitled
from midflight.apps.workload_api.refused import Refused, not_entitled
from midflight.domain.attestation import Process
from midflight.domain.errors import Forbidden, Interrupted, NotFound, Unauthenticated
from midflight.services.ports.clock import Clock
from midflight.services.ports.processes import HeldProcess, Processes
from midflight.services.svid_callers import SvidProof
from midflight.services.svids import Svids, proof_of

HEADER = "broker.spiffe.io"

Context = Any
"""`grpc.aio.ServicerContext`, which has no types."""


class BrokerCalls:
    """The calls over the services. `messages` are the classes of `descriptors.py`."""

    def __init__(
        self,
        *,
        grants: Mapping[str, frozenset[str]],
        broker: Callable[[str], SvidProof | None],
        attestation: Attestation,
        entitled: Entitled,
        svids: Svids,
        processes: Processes,
        changes: Changes,
        clock: Clock,
        messages: dict[str, Any],
    ) -> None:
        """Say who may ask.

        `grants` has the workloads that each broker may represent; `broker` says what the peer of a
        gRPC call has proved, by the bundles that are in force when it is asked.
        """
        self._grants = grants
        self._broker = broker
        self._attestation = attestation
        self._entitled = entitled
        self._svids = svids
        self._processes = processes
        self._changes = changes
        self._clock = clock
        self._messages = messages

    async def subscribe_to_x509_svid(self, request: Any, context: Context) -> AsyncGenerator[Any]:
        """`SubscribeToX509SVID`."""
        one, response = self._messages["X509SVID"], self._messages["SubscribeToX509SVIDResponse"]
        with self._for(request, context) as ask:
            async with aclosing(self._entitled.x509(ask)) as answers:
                async for held, trusted in answers:
                    yield made_of.x509_svids(one, response, held, trusted)

    async def subscribe_to_x509_bundles(
        self, request: Any, context: Context
    ) -> AsyncGenerator[Any]:
        """`SubscribeToX509Bundles`."""
        with self._for(request, context) as ask:
            async with aclosing(self._entitled.bundles(ask)) as answers:
                async for trusted in answers:
                    yield made_of.x509_bundles(
                        self._messages["SubscribeToX509BundlesResponse"], trusted
                    )

    async def fetch_jwt_svid(self, request: Any, context: Context) -> Any:
        """`FetchJWTSVID`."""
        with self._for(request, context) as ask:
            made = await self._entitled.jwt(ask, list(request.audience), wanted=request.spiffe_id)
        one, response = self._messages["JWTSVID"], self._messages["FetchJWTSVIDResponse"]
        return made_of.jwt_svids(one, response, made)

    async def subscribe_to_jwt_bundles(self, request: Any, context: Context) -> AsyncGenerator[Any]:
        """`SubscribeToJWTBundles`."""
        with self._for(request, context) as ask:
            async with aclosing(self._entitled.bundles(ask)) as answers:
                async for trusted in answers:
                    yield made_of.jwt_bundles(
                        self._messages["SubscribeToJWTBundlesResponse"], trusted
                    )

    # Inside

    @contextmanager
    def _for(self, request: Any, context: Context) -> Generator[Ask]:
        """Asks for the process that a request refers to, held while the context lasts."""
        broker = self._authorized(context)
        held = self._hold(request)
        try:
            # The streams look again at once when it ends.
            stop = self._processes.watch(held.start, self._changes.tell)
            try:
                yield self._ask(broker, context.peer(), held)
            finally:
                if stop is not None:
                    stop()
        finally:
            held.close()

    def _ask(self, broker: SvidProof, peer: str, held: HeldProcess) -> Ask:
        def still() -> None:
            self._check(broker)
            if self._broker(peer) != broker:
                raise Refused(
                    grpc.StatusCode.UNAUTHENTICATED, "The broker's SVID is believed no more."
                )
            if not held.alive():
                raise _gone()

        async def ask() -> Asked:
            still()
            uid, gid = held.uid(), held.gid()
            if uid is None or gid is None:
                raise _gone()
            number = int(held.start.partition("@")[0])
            process = Process(pid=number, uid=uid, gid=gid, start=held.start)
            try:
                attested = await self._attestation.attest(process, by=broker.workload)
            except (Unauthenticated, Forbidden):
                still()
                raise not_entitled() from None
            return Asked(
                attested,
                f"broker:{broker.workload} {proof_of(attested)}",
                by=broker.workload,
                token=broker.token,
                only=self._grants[broker.workload],
                still=still,
            )

        return ask

    def _authorized(self, context: Context) -> SvidProof:
        values = [value for name, value in context.invocation_metadata() if name == HEADER]
        if values != ["true"]:
            raise Refused(
                grpc.StatusCode.INVALID_ARGUMENT, f"The metadata {HEADER}: true is needed."
            )
        broker = self._broker(context.peer())
        if broker is None:
            raise Refused(grpc.StatusCode.UNAUTHENTICATED, "The broker is not known.")
        self._check(broker)
        return broker

    def _check(self, broker: SvidProof) -> None:
        if broker.workload not in self._grants:
            raise Refused(
                grpc.StatusCode.PERMISSION_DENIED, "This workload represents no others here."
            )
        if self._clock.now() >= broker.expires_at:
            raise Refused(
                grpc.StatusCode.UNAUTHENTICATED,
                "The broker's SVID has ended. Connect again with the one that followed it.",
            )
        try:
            self._svids.check_bearer(broker.workload, token=broker.token, run=broker.run)
        except (Unauthenticated, Interrupted) as error:
            raise Refused(grpc.StatusCode.PERMISSION_DENIED, error.message) from None

    def _hold(self, request: Any) -> HeldProcess:
        """The process that a request refers to."""
        if not request.HasField("reference") or not request.reference.HasField("reference"):
            raise _invalid("A reference to a workload is needed.")
        packed = request.reference.reference
        if packed.type_url.rpartition("/")[2] != PID_REFERENCE:
            raise _invalid(f"Only references of the type {PID_REFERENCE} are resolved here.")
        pid = 0
        try:
            pid = self._messages["WorkloadPIDReference"].FromString(packed.value).pid
        except DecodeError:
            raise _invalid("The reference does not decode.") from None
        if pid <= 0:
            raise _invalid("A process has a number above 0.")
        try:
            return self._processes.hold(pid)
        except NotFound:
            raise _gone() from None


def _invalid(text: str) -> Refused:
    return Refused(grpc.StatusCode.INVALID_ARGUMENT, text, reason="WORKLOAD_REFERENCE_INVALID")


def _gone() -> Refused:
    return Refused(
        grpc.StatusCode.NOT_FOUND, "There is no such process.", reason="WORKLOAD_NOT_FOUND"
    )


__all__ = ["HEADER", "BrokerCalls"]
