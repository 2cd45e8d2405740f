"""What of an upstream's words reaches the caller, and what must be known of them before it does.

Results, what is said before them (progress, questions), and what is said beside all actions (lines
of a log): what a permit obliges to is taken out, what is left is labelled and indexed, canaries in
it mark the run, and the run's labels are in the store before any of it is delivered.
Above: `guard.py`, the gateway's notices. Below: `flow.py`, `obligations.py`, `canaries.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import msgspec

from midflight.domain.action import Action, ActionKind
from midflight.domain.canonical import canonical
from midflight.domain.errors import Conflict
from midflight.domain.labels import BOTTOM, UNTRUSTED, Labels
from midflight.domain.question import Target
from midflight.domain.traits import Reach, Traits
from midflight.domain.value import JSONObject
from midflight.services.canaries import Canaries
from midflight.services.catalogue import Catalogue
from midflight.services.flow import Flow, RunFlow
from midflight.services.guard_case import Case
from midflight.services.obligations import Obligations
from midflight.services.ports.upstream import ClientRequest, Reply, Sink
from midflight.services.runs import Runs
from midflight.services.suspicion import Suspicion

Judge: TypeAlias = Callable[[Case, Action], Awaitable[None]]


MAX_QUESTION = 16_384
"""Bytes of a question that is kept with its answer; of a longer one its hash is."""


class Observing:
    """See the module. Own state: none."""

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        runs: Runs,
        flow: Flow,
        obligations: Obligations,
        canaries: Canaries,
    ) -> None:
        """Shares its parts with the guard."""
        self._catalogue = catalogue
        self._runs = runs
        self._flow = flow
        self._obligations = obligations
        self._canaries = canaries
        self._suspicion: Suspicion | None = None

    def suspect_with(self, suspicion: Suspicion) -> None:
        """Look at what strangers wrote for instructions, too."""
        self._suspicion = suspicion

    async def notice(self, run: str, upstream: str, method: str, params: JSONObject) -> JSONObject:
        """A message of an upstream that belongs to no action is about to reach a run.

        Returns what of it may: it can repeat what was taken out of a result.

        Raises:
            Conflict: the run is not open, so nobody would have its labels.
            StoreUnavailable: they cannot be kept.
        """
        live = self._runs.live(run)
        if live is None:
            raise Conflict(f"Run {run} is not open here.")
        params = self._obligations.notice(run, upstream, params)
        labels = taint(self._catalogue.notices(upstream))
        if params:
            labels = labels.join(self._flow.told(upstream))
        await self._runs.join_labels(live, labels, source=f"notice of {upstream}")
        await self._canaries.told(live, upstream, method, params)
        if self._suspicion is not None and labels.untrusted:
            await self._suspicion.look(live, params, upstream=upstream, name=method, record="")
        live.look()
        return params

    async def early(self, case: Case, said: JSONObject) -> JSONObject:
        """Something of the result is about to be delivered: what of it may be; its labels first."""
        said = self._obligations.early(case, said)
        assert case.live is not None
        assert case.target is not None
        assert case.flow_run is not None
        labels = self._flow.observe(
            case.flow_run, case.target, case.action, said, record=case.intent
        )
        await self._runs.join_labels(case.live, labels, source=case.intent)
        await self._canaries.arriving(case, said)
        await self._suspect(case, said, labels)
        case.live.look()
        if case.flight is not None:
            case.flight.look()
        return said

    async def result(self, case: Case, flow: RunFlow, said: Reply) -> Reply:
        """Labels and values of what may be delivered of a result, before it is."""
        assert case.live is not None
        assert case.target is not None
        reply = self._obligations.deliver(case, said)
        failed = reply.error is not None
        result = {"error": reply.error} if reply.error is not None else (reply.result or {})
        labels = self._flow.observe(
            flow,
            case.target,
            case.action,
            result,
            record=case.intent,
            failed=failed or result.get("isError") is True,
        )
        await self._runs.join_labels(case.live, labels, source=case.intent)
        await self._canaries.arriving(case, result)
        await self._suspect(case, result, labels)
        await self._flow.mark_made(case.live, case.target, case.action, said.result or {})
        return reply

    async def _suspect(self, case: Case, said: JSONObject, labels: Labels) -> None:
        if self._suspicion is None or not labels.untrusted:
            return
        assert case.live is not None
        action = case.action
        await self._suspicion.look(
            case.live, said, upstream=action.upstream, name=case.name, record=case.intent
        )


class ObservedSink:
    """The caller's side as the upstream's adapter sees it: nothing passes unobserved."""

    __slots__ = ("_case", "_judge", "_observing", "_sink")

    def __init__(self, observing: Observing, case: Case, sink: Sink, *, judge: Judge) -> None:
        """`judge` lets an answer out, or raises."""
        self._observing = observing
        self._judge = judge
        self._case = case
        self._sink = sink

    @property
    def capabilities(self) -> JSONObject:
        """The client's."""
        return self._sink.capabilities

    @property
    def takes_input_required(self) -> bool:
        """The client's."""
        return self._sink.takes_input_required

    async def notify(self, method: str, params: JSONObject) -> None:
        """Labels first, then the client."""
        params = await self._observing.early(self._case, params)
        await self._sink.notify(method, params)

    async def ask(self, request: ClientRequest) -> JSONObject:
        """Labels first, then the client; its answer is judged before it goes out."""
        params = await self._observing.early(self._case, request.params)
        answer = await self._sink.ask(msgspec.structs.replace(request, params=params))
        action = Action(
            kind=ActionKind.ANSWER,
            upstream=self._case.action.upstream,
            name=request.method,
            method=request.method,
            arguments={k: v for k, v in answer.items() if k != "_meta"},
            params=_asked(params),
        )
        await self._judge(self._case, action)
        return answer


def _asked(question: JSONObject) -> JSONObject:
    """The question as a part of the answer: an approver sees it, and approves no other."""
    asked = {k: v for k, v in question.items() if k != "_meta"}
    if not asked:
        return {}
    encoded = canonical(asked)
    if len(encoded) > MAX_QUESTION:
        return {"asked": {"sha256": hashlib.sha256(encoded).hexdigest()}}
    return {"asked": asked}


def is_undone(said: Reply) -> bool:
    """Whether the upstream says that it did nothing: it failed, or it asks something first."""
    result = said.result or {}
    return (
        said.error is not None
        or result.get("isError") is True
        or result.get("resultType") == "input_required"
    )


def taint(target: Target) -> Labels:
    """The label of everything that comes back from a target, in the coarse form."""
    traits: Traits = target.traits
    if traits.reviewed and traits.reach is Reach.CLOSED:
        return BOTTOM
    return UNTRUSTED


__all__ = ["Judge", "ObservedSink", "Observing", "is_undone", "taint"]
