"""Operations on workloads and their tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from midflight.apps.control.operation import Empty, Input, Operation
from midflight.apps.control.operators import Operator
from midflight.apps.control.plane import Plane
from midflight.domain.errors import Conflict, NotFound
from midflight.domain.identity import Mode, Tier, Workload
from midflight.domain.value import Value


class NewWorkload(Input):
    """A registration. `review_by` and `waiver_until` are Unix seconds."""

    id: str
    owner: str
    escalation: str
    review_by: int
    team: str = "default"
    kind: str = "agent"
    tier: Tier = Tier.BASELINE
    mode: Mode = Mode.ENFORCE
    uid: int | None = None
    waiver_by: str | None = None
    waiver_until: int | None = None


class NamedWorkload(Input):
    """A workload by its SPIFFE ID."""

    id: str


class NewToken(Input):
    """A token to mint. `jkt` binds it to a key (RFC 9449 §6.1)."""

    workload: str
    run: str | None = None
    ttl_s: int | None = None
    jkt: str | None = None


class WorkloadToken(Value):
    """A minted token. It is handed out once and kept nowhere."""

    token: str
    jti: str
    expires_at: int

    def __repr__(self) -> str:
        return f"WorkloadToken(jti={self.jti!r}, expires_at={self.expires_at})"


class WorkloadVerbs:
    """See the module."""

    def __init__(
        self, plane: Plane, *, is_operator: Callable[[int], bool], token_ttl_s: int
    ) -> None:
        """`is_operator` tells uids of operators; `token_ttl_s` is the settings' token life."""
        self._inventory = plane.inventory
        self._identity = plane.identity
        self._desk = plane.approval_desk
        self._is_operator = is_operator
        self._token_ttl_s = token_ttl_s

    async def list_workloads(self, given: Empty, operator: Operator) -> Sequence[Workload]:
        """All workloads, by id."""
        del given, operator
        return await self._inventory.list()

    async def show_workload(self, given: NamedWorkload, operator: Operator) -> Workload:
        """One workload."""
        del operator
        return await self._inventory.get(given.id)

    async def register_workload(self, given: NewWorkload, operator: Operator) -> Workload:
        """Register or replace."""
        if given.uid is not None and self._is_operator(given.uid):
            raise Conflict(
                f"User id {given.uid} is an operator's; a workload of that user would lock the"
                " operator out.",
                hint="Run the workload as a user of its own, or leave uid out.",
            )
        await self._check_signature(given, operator)
        workload = Workload(**{name: getattr(given, name) for name in given.__struct_fields__})
        return await self._inventory.register(workload, operator.author)

    async def _check_signature(self, given: NewWorkload, operator: Operator) -> None:
        """A waiver is signed by being given: by an operator who answers for the owner."""
        if given.waiver_by is None and given.waiver_until is None:
            return
        try:
            before = await self._inventory.get(given.id)
        except NotFound:
            before = None
        signed = (given.owner, given.waiver_by, given.waiver_until)
        if before is None or signed != (before.owner, before.waiver_by, before.waiver_until):
            self._desk.check_owner(operator.author, given.owner)

    async def disable_workload(self, given: NamedWorkload, operator: Operator) -> Workload:
        """Deny everything it does from now on."""
        return await self._inventory.disable(given.id, operator.author)

    async def enable_workload(self, given: NamedWorkload, operator: Operator) -> Workload:
        """End a disabling."""
        return await self._inventory.enable(given.id, operator.author)

    async def mint_token(self, given: NewToken, operator: Operator) -> WorkloadToken:
        """Mint a token for a workload."""
        minted = await self._identity.mint(
            workload=given.workload,
            author=operator.author,
            run=given.run,
            ttl_s=self._token_ttl_s if given.ttl_s is None else given.ttl_s,
            jkt=given.jkt,
        )
        return WorkloadToken(token=minted.token, jti=minted.jti, expires_at=minted.expires_at)

    def operations(self) -> Sequence[Operation[Any]]:
        """The rows of the table."""
        return (
            Operation(
                method="GET",
                path="/v1/workloads",
                summary="All workloads.",
                input=Empty,
                answer=list[Workload],
                act=self.list_workloads,
            ),
            Operation(
                method="GET",
                path="/v1/workloads/{id:path}",
                summary="One workload; its SPIFFE ID percent-encoded in the path.",
                input=NamedWorkload,
                answer=Workload,
                act=self.show_workload,
            ),
            Operation(
                method="POST",
                path="/v1/workloads",
                summary="Register a workload, or replace its registration.",
                input=NewWorkload,
                answer=Workload,
                act=self.register_workload,
            ),
            Operation(
                method="POST",
                path="/v1/workloads/disable",
                summary="Deny everything a workload does from now on.",
                input=NamedWorkload,
                answer=Workload,
                act=self.disable_workload,
            ),
            Operation(
                method="POST",
                path="/v1/workloads/enable",
                summary="End a disabling.",
                input=NamedWorkload,
                answer=Workload,
                act=self.enable_workload,
            ),
            Operation(
                method="POST",
                path="/v1/tokens",
                summary="Mint a workload token. The answer is the only copy.",
                input=NewToken,
                answer=WorkloadToken,
                act=self.mint_token,
            ),
        )


__all__ = ["NamedWorkload", "NewToken", "NewWorkload", "WorkloadToken", "WorkloadVerbs"]
