"""What each call of the Workload API does, as SPIFFE Workload API §5 to §7 say.

A caller without any identity gets PERMISSION_DENIED, one without the security header
INVALID_ARGUMENT (Workload Endpoint §6.1). What is handed out is `entitled.py`'s to say.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import grpc
import msgspec

from midflight.apps.workload_api import messages as made_of
from midflight.apps.workload_api.entitled import Ask, Asked, Attestation, Entitled, hints
from midflight.apps.workload_api.refused import Refused, not_entitled
from midflight.domain.attestation import Process
from midflight.domain.errors import Forbidden, Unauthenticated
from midflight.services.svids import proof_of
from midflight.wire.spiffe import wit_jwks

HEADER = "workload.spiffe.io"

Context = Any
"""`grpc.aio.ServicerContext`, which has no types."""


class Calls:
    """The calls over the services. `messages` are the classes of `descriptors.py`."""

    def __init__(
        self,
        *,
        attestation: Attestation,
        entitled: Entitled,
        process: Callable[[str], Process | None],
        messages: dict[str, Any],
    ) -> None:
        """`process` says who is behind a gRPC peer (`front.py`)."""
        self._attestation = attestation
        self._entitled = entitled
        self._process = process
        self._messages = messages

    # X.509

    async def fetch_x509_svid(self, request: Any, context: Context) -> AsyncGenerator[Any]:
        """`FetchX509SVID`."""
        del request
        one, response = self._messages["X509SVID"], self._messages["X509SVIDResponse"]
        async with aclosing(self._entitled.x509(self._ask(context))) as answers:
            async for held, trusted in answers:
                yield made_of.x509_svids(one, response, held, trusted)

    async def fetch_x509_bundles(self, request: Any, context: Context) -> AsyncGenerator[Any]:
        """`FetchX509Bundles`."""
        del request
        async with aclosing(self._entitled.bundles(self._ask(context))) as answers:
            async for trusted in answers:
                yield made_of.x509_bundles(self._messages["X509BundlesResponse"], trusted)

    # JWT

    async def fetch_jwt_svid(self, request: Any, context: Context) -> Any:
        """`FetchJWTSVID`."""
        made = await self._entitled.jwt(
            self._ask(context), list(request.audience), wanted=request.spiffe_id
        )
        one, response = self._messages["JWTSVID"], self._messages["JWTSVIDResponse"]
        return made_of.jwt_svids(one, response, made)

    async def fetch_jwt_bundles(self, request: Any, context: Context) -> AsyncGenerator[Any]:
        """`FetchJWTBundles`."""
        del request
        async with aclosing(self._entitled.bundles(self._ask(context))) as answers:
            async for trusted in answers:
                yield made_of.jwt_bundles(self._messages["JWTBundlesResponse"], trusted)

    async def validate_jwt_svid(self, request: Any, context: Context) -> Any:
        """`ValidateJWTSVID`, by the bundles that the caller is given, and no others."""
        found = await self._entitled.validated(self._ask(context), request.svid, request.audience)
        response = self._messages["ValidateJWTSVIDResponse"](spiffe_id=found.spiffe_id)
        response.claims.update(found.claims)
        return response

    # WIT, where it is experimentally on

    async def fetch_wit_svid(self, request: Any, context: Context) -> AsyncGenerator[Any]:
        """`FetchWITSVID`."""
        one, response = self._messages["WITSVID"], self._messages["WITSVIDResponse"]
        async with aclosing(
            self._entitled.wit(self._ask(context), wanted=request.spiffe_id)
        ) as answers:
            async for held in answers:
                yield response(
                    svids=[
                        one(
                            spiffe_id=svid.spiffe_id,
                            wit_svid=svid.token,
                            wit_svid_key=msgspec.json.encode(svid.key).decode(),
                            hint=hint,
                        )
                        for svid, hint in zip(held, hints(held), strict=True)
                    ]
                )

    async def fetch_wit_bundles(self, request: Any, context: Context) -> AsyncGenerator[Any]:
        """`FetchWITBundles`."""
        del request
        response = self._messages["WITBundlesResponse"]
        async with aclosing(self._entitled.bundles(self._ask(context))) as answers:
            async for trusted in answers:
                yield response(
                    bundles={made_of.domain_id(b): wit_jwks(b).decode() for b in trusted}
                )

    # Inside

    def _ask(self, context: Context) -> Ask:
        async def ask() -> Asked:
            values = [value for name, value in context.invocation_metadata() if name == HEADER]
            if values != ["true"]:
                raise Refused(
                    grpc.StatusCode.INVALID_ARGUMENT, f"The metadata {HEADER}: true is needed."
                )
            process = self._process(context.peer())
            if process is None:
                raise not_entitled()
            try:
                attested = await self._attestation.attest(process)
            except (Unauthenticated, Forbidden):
                raise not_entitled() from None
            return Asked(attested, proof_of(attested))

        return ask


__all__ = ["HEADER", "Calls"]
