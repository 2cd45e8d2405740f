"""What each call of the Workload API does, as SPIFFE Workload API §5 to §7 say.

Streams answer at once and again, always in full, whenever entries, SVIDs or bundles changed; they
end when nothing is left that the caller may be. A caller without any identity gets
PERMISSION_DENIED, one without the security header INVALID_ARGUMENT (Workload Endpoint §6.1).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, Protocol

import grpc

from midflight.apps.workload_api.changes import Changes
from midflight.domain.attestation import Attested, Entry, Process
from midflight.domain.errors import Forbidden, Interrupted, Malformed, Unauthenticated
from midflight.domain.identity import spiffe_id
from midflight.domain.spiffe import TrustBundle, X509Svid
from midflight.services.mint_rates import TooOften
from midflight.services.ports.bundles import Bundles
from midflight.services.svids import Svids, proof_of
from midflight.wire.spiffe import jwks

HEADER = "workload.spiffe.io"

Context = Any
"""`grpc.aio.ServicerContext`, which has no types."""


class Attestation(Protocol):
    """Who local processes are, and which entries they match."""

    async def attest(self, process: Process) -> Attested:
        """What is known of a process. `Unavailable`, `Unauthenticated` if it cannot be known."""
        ...

    def entries(self, attested: Attested) -> Sequence[Entry]:
        """The registration entries that match, in a steady order. No I/O."""
        ...

    def on_changed(self, listener: Callable[[], None]) -> None:
        """Call `listener` when entries may have changed."""
        ...


class Refused(Exception):
    """Ends a call with a gRPC status; the text is safe for strangers."""

    def __init__(self, status: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class Calls:
    """The calls over the services. `messages` are the classes of `descriptors.py`."""

    def __init__(
        self,
        *,
        trust_domain: str,
        attestation: Attestation,
        svids: Svids,
        bundles: Bundles,
        changes: Changes,
        process: Callable[[str], Process | None],
        messages: dict[str, Any],
    ) -> None:
        """`process` says who is behind a gRPC peer (`front.py`)."""
        self._domain = trust_domain
        self._attestation = attestation
        self._svids = svids
        self._bundles = bundles
        self._changes = changes
        self._process = process
        self._messages = messages

    # X.509

    async def fetch_x509_svid(self, request: Any, context: Context) -> AsyncGenerator[Any]:
        """`FetchX509SVID`."""
        del request
        attested = await self._attested(context)
        held: dict[Entry, X509Svid] = {}
        shown: object = None
        while True:
            ticket = self._changes.ticket()
            if held and self._mints(attested, held):
                # The process behind the connection may have gone, and given it to another.
                attested = await self._attested(context)
            held = await self._renewed(attested, held)
            trusted = self._trusted(list(held))
            now = ([svid.serial for svid in held.values()], trusted)
            if now != shown:
                yield self._x509_response(held, trusted)
                shown = now
            await self._changes.after(ticket)

    async def fetch_x509_bundles(self, request: Any, context: Context) -> AsyncGenerator[Any]:
        """`FetchX509Bundles`."""
        del request
        response = self._messages["X509BundlesResponse"]
        async for trusted in self._bundle_changes(context):
            yield response(
                bundles={_id(b): b"".join(b.x509_authorities) for b in trusted},
            )

    # JWT

    async def fetch_jwt_svid(self, request: Any, context: Context) -> Any:
        """`FetchJWTSVID`."""
        attested = await self._attested(context)
        audience = list(request.audience)
        if not audience:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "An audience is needed.")
        entries = self._standing(attested)
        if request.spiffe_id:
            wanted = _checked(request.spiffe_id)
            entries = [entry for entry in entries if entry.spiffe_id == wanted]
            if not entries:
                raise Refused(grpc.StatusCode.PERMISSION_DENIED, _NO_IDENTITY)
        proof = proof_of(attested)
        try:
            made = [await self._svids.jwt(entry, audience, proof=proof) for entry in entries]
        except Malformed as error:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None
        one = self._messages["JWTSVID"]
        return self._messages["JWTSVIDResponse"](
            svids=[one(spiffe_id=s.spiffe_id, svid=s.token, hint=s.hint) for s in made]
        )

    async def fetch_jwt_bundles(self, request: Any, context: Context) -> AsyncGenerator[Any]:
        """`FetchJWTBundles`."""
        del request
        response = self._messages["JWTBundlesResponse"]
        async for trusted in self._bundle_changes(context):
            yield response(bundles={_id(b): jwks(b) for b in trusted})

    async def validate_jwt_svid(self, request: Any, context: Context) -> Any:
        """`ValidateJWTSVID`, by the bundles that the caller is given, and no others."""
        attested = await self._attested(context)
        trusted = {b.trust_domain for b in self._trusted(self._standing(attested))}
        if not request.audience or not request.svid:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "An audience and an SVID are needed.")
        try:
            found = self._svids.validate_jwt(
                request.svid, request.audience, trusted=trusted.__contains__
            )
        except (Unauthenticated, Interrupted) as error:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None
        response = self._messages["ValidateJWTSVIDResponse"](spiffe_id=found.spiffe_id)
        response.claims.update(found.claims)
        return response

    # Inside

    async def _attested(self, context: Context) -> Attested:
        values = [value for name, value in context.invocation_metadata() if name == HEADER]
        if values != ["true"]:
            raise Refused(
                grpc.StatusCode.INVALID_ARGUMENT, f"The metadata {HEADER}: true is needed."
            )
        process = self._process(context.peer())
        if process is None:
            raise Refused(grpc.StatusCode.PERMISSION_DENIED, _NO_IDENTITY)
        try:
            return await self._attestation.attest(process)
        except (Unauthenticated, Forbidden):
            raise Refused(grpc.StatusCode.PERMISSION_DENIED, _NO_IDENTITY) from None

    def _standing(self, attested: Attested) -> list[Entry]:
        """Entries whose workloads may have an identity now; at least one."""
        found: list[Entry] = []
        for entry in self._attestation.entries(attested):
            try:
                self._svids.check(entry)
            except (Forbidden, Interrupted):
                continue
            found.append(entry)
        if not found:
            raise Refused(grpc.StatusCode.PERMISSION_DENIED, _NO_IDENTITY)
        return found

    def _mints(self, attested: Attested, held: dict[Entry, X509Svid]) -> bool:
        """Whether `_renewed` would mint something."""
        found = self._standing(attested)
        return any(entry not in held or self._svids.due(held[entry]) for entry in found)

    async def _renewed(
        self, attested: Attested, held: dict[Entry, X509Svid]
    ) -> dict[Entry, X509Svid]:
        """What the caller may be now, with SVIDs that have half of their life before them."""
        renewed: dict[Entry, X509Svid] = {}
        for entry in self._standing(attested):
            svid = held.get(entry)
            if svid is None or self._svids.due(svid):
                try:
                    svid = await self._svids.x509(entry, proof=proof_of(attested))
                except (Forbidden, Interrupted):
                    continue
                except TooOften:
                    # Whoever else floods the entry ends no stream: what is held is good for as
                    # long again, and is renewed when the next change or sweep comes round.
                    if svid is None:
                        raise
            renewed[entry] = svid
        if not renewed:
            raise Refused(grpc.StatusCode.PERMISSION_DENIED, _NO_IDENTITY)
        return renewed

    def _trusted(self, entries: Sequence[Entry]) -> list[TrustBundle]:
        """Our bundle first, then those that the entries federate with and that are in force."""
        own = self._bundles.bundle(self._domain)
        if own is None:
            raise Refused(grpc.StatusCode.PERMISSION_DENIED, _NO_IDENTITY)
        names = sorted({name for entry in entries for name in entry.federates_with})
        others = [self._bundles.bundle(name) for name in names if name != self._domain]
        return [own, *(bundle for bundle in others if bundle is not None)]

    async def _bundle_changes(self, context: Context) -> AsyncGenerator[list[TrustBundle]]:
        attested = await self._attested(context)
        shown: object = None
        while True:
            ticket = self._changes.ticket()
            trusted = self._trusted(self._standing(attested))
            if trusted != shown:
                yield trusted
                shown = trusted
            await self._changes.after(ticket)

    def _x509_response(self, held: dict[Entry, X509Svid], trusted: list[TrustBundle]) -> Any:
        one = self._messages["X509SVID"]
        own, *others = trusted
        return self._messages["X509SVIDResponse"](
            svids=[
                one(
                    spiffe_id=svid.spiffe_id,
                    x509_svid=b"".join(svid.chain),
                    x509_svid_key=svid.key,
                    bundle=b"".join(own.x509_authorities),
                    hint=svid.hint,
                )
                for svid in held.values()
            ],
            federated_bundles={_id(b): b"".join(b.x509_authorities) for b in others},
        )


def _checked(text: str) -> str:
    try:
        return spiffe_id(text)
    except ValueError:
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "This is not a SPIFFE ID.") from None


def _id(bundle: TrustBundle) -> str:
    return f"spiffe://{bundle.trust_domain}"


_NO_IDENTITY = "No identity is issued to this process."

__all__ = ["HEADER", "Attestation", "Calls", "Refused"]
