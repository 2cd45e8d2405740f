"""Operations on what upstreams serve: listing, comparing, pinning."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from midflight.apps.control.operation import Empty, Input, Operation
from midflight.apps.control.operators import Operator
from midflight.apps.control.plane import Plane
from midflight.apps.control.traits import GivenTraits
from midflight.domain.errors import Conflict, MidflightError
from midflight.domain.proposal import contradictions, propose
from midflight.domain.tool import Pin, PinnedKind, PinState
from midflight.domain.traits import Effect, Reach, Traits
from midflight.domain.value import JSONObject, Value
from midflight.services.catalogue import Listed


class WantedTools(Input):
    """Which definitions to list. `fresh` asks the upstream first."""

    upstream: str | None = None
    fresh: bool = False


class NamedTool(Input):
    """One definition of an upstream."""

    upstream: str
    name: str
    kind: PinnedKind = PinnedKind.TOOL


class NewPin(Input):
    """A definition to pin.

    `digest` is the one that was looked at; nothing is pinned if another is served by now. `effect`
    and `reach` together are a review, and so are `traits`; `proposed` takes what the manifest says,
    which nobody has confirmed. Without any, the traits of an earlier pin of the same definition
    stay, or the worst is assumed.
    """

    upstream: str
    name: str
    digest: str
    kind: PinnedKind = PinnedKind.TOOL
    effect: Effect | None = None
    reach: Reach | None = None
    traits: GivenTraits | None = None
    proposed: bool = False


class NamedUpstream(Input):
    """One upstream."""

    upstream: str


class Shown(Value):
    """A definition in a list. `digest` is that of what is served, `body` the whole of it.

    `contradictions` are what it says of itself that its traits deny.
    """

    upstream: str
    kind: PinnedKind
    name: str
    state: PinState
    digest: str | None
    body: JSONObject | None
    pinned_digest: str | None
    traits: Traits | None
    pinned_by: str = ""
    pinned_at: int = 0
    contradictions: tuple[str, ...] = ()


class Reached(Value):
    """An upstream, and why it did not answer; empty if it did."""

    name: str
    trouble: str


class Difference(Value):
    """The pinned and the served body of one definition; None where there is none."""

    pinned: JSONObject | None
    served: JSONObject | None


class Unpinned(Value):
    """A pin that was taken back."""

    upstream: str
    kind: PinnedKind
    name: str


class ToolVerbs:
    """See the module."""

    def __init__(self, plane: Plane, *, upstreams: Sequence[str]) -> None:
        """`upstreams` are the configured names."""
        self._catalogue = plane.catalogue
        self._upstreams = tuple(upstreams)

    async def list_tools(self, given: WantedTools, operator: Operator) -> Sequence[Shown]:
        """What is served or pinned, with its state."""
        del operator
        if given.upstream is not None:
            await self._reach(given.upstream, fresh=given.fresh)
        else:
            await self._reach_all(fresh=given.fresh)
        return [_shown(entry) for entry in self._catalogue.listing(given.upstream)]

    async def list_upstreams(self, given: Empty, operator: Operator) -> Sequence[Reached]:
        """Which upstreams answer now."""
        del given, operator
        return await self._reach_all(fresh=True)

    async def diff_tool(self, given: NamedTool, operator: Operator) -> Difference:
        """The pinned and the served definition."""
        del operator
        await self._catalogue.ensure(given.upstream)
        pinned, served = self._catalogue.diff(given.upstream, given.name, given.kind)
        return Difference(pinned=pinned, served=served)

    async def pin_tool(self, given: NewPin, operator: Operator) -> Pin:
        """Pin what was looked at."""
        await self._catalogue.ensure(given.upstream)
        return await self._catalogue.pin(
            given.upstream,
            given.name,
            kind=given.kind,
            traits=self._traits(given),
            digest=given.digest,
            author=operator.author,
        )

    def _traits(self, given: NewPin) -> Traits | None:
        ways = [given.effect or given.reach, given.traits, given.proposed]
        if sum(map(bool, ways)) > 1:
            raise Conflict(
                "Traits are said in more than one way.",
                hint="Say effect and reach, or traits, or proposed.",
            )
        if given.traits is not None:
            return given.traits.reviewed()
        if not given.proposed:
            return _reviewed(given)
        served = self._catalogue.definition(given.upstream, given.kind, given.name)
        if given.kind is not PinnedKind.TOOL:
            raise Conflict("Only tools have traits to propose.", hint="Pin it without --proposed.")
        return propose(served).traits if served else None

    async def unpin_tool(self, given: NamedTool, operator: Operator) -> Unpinned:
        """Take a pin back."""
        await self._catalogue.unpin(
            given.upstream, given.name, kind=given.kind, author=operator.author
        )
        return Unpinned(upstream=given.upstream, kind=given.kind, name=given.name)

    async def refresh_upstream(self, given: NamedUpstream, operator: Operator) -> Sequence[Shown]:
        """Ask the upstream what it serves now."""
        return await self.list_tools(WantedTools(upstream=given.upstream, fresh=True), operator)

    async def _reach(self, upstream: str, *, fresh: bool) -> None:
        if fresh:
            await self._catalogue.refresh(upstream)
        else:
            await self._catalogue.ensure(upstream)

    async def _reach_all(self, *, fresh: bool) -> Sequence[Reached]:
        """All at once, since one that is away must neither hide nor delay the others."""

        async def reach(name: str) -> Reached:
            try:
                await self._reach(name, fresh=fresh)
            except MidflightError as error:
                return Reached(name=name, trouble=error.message)
            return Reached(name=name, trouble="")

        return await asyncio.gather(*(reach(name) for name in self._upstreams))

    def operations(self) -> Sequence[Operation[Any]]:
        """The rows of the table."""
        return (
            Operation(
                method="GET",
                path="/v1/tools",
                summary="What upstreams serve, with pins and drift.",
                input=WantedTools,
                answer=list[Shown],
                act=self.list_tools,
            ),
            Operation(
                method="GET",
                path="/v1/tools/diff",
                summary="The pinned and the served definition.",
                input=NamedTool,
                answer=Difference,
                act=self.diff_tool,
            ),
            Operation(
                method="GET",
                path="/v1/upstreams",
                summary="Which upstreams answer now.",
                input=Empty,
                answer=list[Reached],
                act=self.list_upstreams,
            ),
            Operation(
                method="POST",
                path="/v1/tools/pin",
                summary="Pin the definition that was looked at.",
                input=NewPin,
                answer=Pin,
                act=self.pin_tool,
            ),
            Operation(
                method="POST",
                path="/v1/tools/unpin",
                summary="Take a pin back; the tool is denied from now on.",
                input=NamedTool,
                answer=Unpinned,
                act=self.unpin_tool,
            ),
            Operation(
                method="POST",
                path="/v1/tools/refresh",
                summary="Ask an upstream what it serves now.",
                input=NamedUpstream,
                answer=list[Shown],
                act=self.refresh_upstream,
            ),
        )


def _reviewed(given: NewPin) -> Traits | None:
    if given.effect is None and given.reach is None:
        return None
    if given.effect is None or given.reach is None:
        raise Conflict(
            "A review says both effect and reach.",
            hint="For example: midflight tool pin git git_log --effect read --reach closed",
        )
    return Traits(effect=given.effect, reach=given.reach, reviewed=True)


def _shown(entry: Listed) -> Shown:
    served, pin = entry.definition, entry.pin
    return Shown(
        upstream=entry.upstream,
        kind=entry.kind,
        name=entry.name,
        state=entry.state,
        digest=served.digest() if served else None,
        body=served.body if served else None,
        pinned_digest=pin.digest if pin else None,
        traits=pin.traits if pin else None,
        pinned_by=pin.by if pin else "",
        pinned_at=pin.at if pin else 0,
        contradictions=contradictions(served.body, pin.traits) if served and pin else (),
    )


__all__ = ["Difference", "NamedTool", "NewPin", "Reached", "Shown", "ToolVerbs", "WantedTools"]
