"""Operations about the plane and the operator: health, who I am, operator tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from midflight import __version__
from midflight.apps.compose_injection import memory_is_private
from midflight.apps.control.operation import Empty, Input, Operation
from midflight.apps.control.operators import MintedOperatorToken, Operator, Operators
from midflight.apps.control.plane import Plane
from midflight.domain.lease import Revocability
from midflight.domain.value import Value

NO_POLICY = "none"


class Health(Value):
    """How the plane is.

    Attributes:
        ready: whether it can permit anything: there is a policy, and the ledger takes records.
        version: Midflight's.
        policy: version of the active policy set, `none` without one.
        ledger: whether the last flush reached the disk.
        trust_domain: where workloads are named.
        url: where agents reach it.
        flights: how many actions are in flight, now; streams and the like are none.
        revocations: how many are in force.
        upstreams: configured names.
        leases: how many credentials are lent, now.
        leases_stuck: how many could not be taken back, and need somebody to look.
        static_secrets: credentials that nothing ends by itself, with the age of each.
        private_memory: whether its process is never dumped.
    """

    ready: bool
    version: str
    policy: str
    ledger: bool
    trust_domain: str
    url: str
    flights: int
    revocations: int
    upstreams: Sequence[str]
    leases: int = 0
    leases_stuck: int = 0
    static_secrets: Sequence[str] = ()
    private_memory: bool = False


class Me(Value):
    """The operator behind this call, and how that was established."""

    name: str
    proof: str


class WantedOperatorToken(Input):
    """How long an operator token shall live: at most 900 seconds."""

    ttl_s: int | None = None


class StandingVerbs:
    """See the module."""

    def __init__(self, plane: Plane, operators: Operators) -> None:
        self._plane = plane
        self._operators = operators

    async def show_health(self, given: Empty, operator: Operator) -> Health:
        """How the plane is."""
        del given, operator
        plane = self._plane
        policy, ledger = plane.policies.version, plane.ledger.available
        return Health(
            ready=ledger and policy != NO_POLICY,
            version=__version__,
            policy=policy,
            ledger=ledger,
            trust_domain=plane.settings.identity.trust_domain,
            url=plane.settings.public_url,
            flights=plane.interruption.in_flight,
            revocations=len(plane.interruption.listing()),
            upstreams=[entry.name for entry in plane.settings.upstream],
            leases=plane.broker.held,
            leases_stuck=plane.broker.stuck,
            static_secrets=[
                f"{each.name} ({max(0, int(plane.clock.now()) - each.added_at) // 86_400} days)"
                for each in plane.credentials.list()
                if plane.credentials.revocability(each.name) is Revocability.NEVER
            ],
            private_memory=memory_is_private(),
        )

    async def show_operator(self, given: Empty, operator: Operator) -> Me:
        """Whom the plane takes the caller for."""
        del given
        return Me(name=operator.author.name, proof=operator.author.proof)

    async def mint_operator_token(
        self, given: WantedOperatorToken, operator: Operator
    ) -> MintedOperatorToken:
        """A token for the API on loopback."""
        return self._operators.mint_token(operator, ttl_s=given.ttl_s)

    def operations(self) -> Sequence[Operation[Any]]:
        """The rows of the table."""
        return (
            Operation(
                method="GET",
                path="/v1/health",
                summary="How the plane is.",
                input=Empty,
                answer=Health,
                act=self.show_health,
            ),
            Operation(
                method="GET",
                path="/v1/operator",
                summary="Whom the plane takes the caller for.",
                input=Empty,
                answer=Me,
                act=self.show_operator,
            ),
            Operation(
                method="POST",
                path="/v1/operator/tokens",
                summary="Mint a token for the API on loopback; over the socket only.",
                input=WantedOperatorToken,
                answer=MintedOperatorToken,
                act=self.mint_operator_token,
            ),
        )


__all__ = ["Health", "Me", "StandingVerbs", "WantedOperatorToken"]
