"""Delegation: a child run for a part of what its parent is for.

The child has the parent's intent, the parent's labels, and less than the parent: what it may do,
how long and how often is taken out of what the parent has (`domain/delegation.py`,
`domain/narrowing.py`), and it falls with the parent (`runs.py`). The words it is given are data
with the parent's labels; they are no intent. Below: `runs.py`. Above: the control API.
"""

from __future__ import annotations

from midflight.domain.action import ActionKind
from midflight.domain.decision import Challenge, Deny
from midflight.domain.delegation import is_too_deep, share
from midflight.domain.errors import Conflict, Forbidden, Malformed
from midflight.domain.identity import Author, Workload
from midflight.domain.narrowing import WHOLE, Narrowing, beyond, meet
from midflight.domain.question import Question, Source, Target
from midflight.domain.revocation import scopes_over
from midflight.domain.run import Run
from midflight.domain.tool import PinState
from midflight.domain.traits import Effect, Reach, Traits
from midflight.services.interruption import Interruption
from midflight.services.inventory import Inventory
from midflight.services.live_run import LiveRun
from midflight.services.monitors import Monitors
from midflight.services.openers import point_of
from midflight.services.ports.clock import Clock
from midflight.services.ports.policy import PolicyEngine
from midflight.services.ports.store import Store
from midflight.services.run_bounds import Bounds
from midflight.services.runs import Runs
from midflight.services.sealing import Sealer

MAX_TEXT = 65_536
"""Characters of words that a child run can be given."""

_TARGET = Target(
    upstream="midflight",
    name="delegate",
    pin=None,
    pin_state=PinState.PINNED,
    traits=Traits(effect=Effect.READ, reach=Reach.CLOSED, reviewed=True),
)


class Delegation:
    """Opens child runs. Shares its parts with `Runs`."""

    def __init__(
        self,
        *,
        runs: Runs,
        inventory: Inventory,
        interruption: Interruption,
        engine: PolicyEngine,
        monitors: Monitors,
        store: Store,
        sealer: Sealer,
        clock: Clock,
        bounds: Bounds,
    ) -> None:
        """`bounds` are those of `runs`."""
        self._runs = runs
        self._inventory = inventory
        self._interruption = interruption
        self._engine = engine
        self._monitors = monitors
        self._store = store
        self._sealer = sealer
        self._clock = clock
        self._bounds = bounds

    async def delegate(
        self,
        parent: str,
        *,
        workload: str,
        text: str,
        author: Author,
        narrowed: Narrowing = WHOLE,
        ttl_s: int | None = None,
        max_steps: int | None = None,
    ) -> Run:
        """Open a child run of an open run. It is in the store and on record when this returns.

        Args:
            parent: id of the run that delegates.
            workload: SPIFFE ID of the workload that the child is for, the same or another.
            text: what the child is told: data with the parent's labels.
            author: who asks.
            narrowed: what is left to the child of what the parent may do.
            ttl_s: how long it may live; it never outlives its parent.
            max_steps: how many actions it may take, out of those the parent has left. They are
                not given back. Default: half of them.

        Raises:
            Malformed: no words, or too many.
            NotFound: no such run, or no such workload.
            Conflict: the parent has ended, has no intent, is too deep or has not what is asked.
            Forbidden: policy, a revocation or somebody's standing is against it.
        """
        if not text.strip() or len(text) > MAX_TEXT:
            raise Malformed(
                f"The words for a child run are 1 to {MAX_TEXT:,} characters.",
                hint="Say what the child run is to do.",
            )
        above = await self._runs.opened(parent)
        delegator = await self._standing(above.run.workload)
        delegate = await self._standing(workload)
        self._check_revoked(above, delegator, delegate)
        self._check_asked(above, narrowed, ttl_s, max_steps)
        self._check_policy(above, delegator, delegate, author)
        self._runs.check_opening(delegate, author)
        intent = await self._intent(above)
        # What the parent has seen so far goes to the store before the child's row says it.
        labels = above.labels
        await self._runs.join_labels(above, labels, source=above.run.id)
        steps = await self._take_steps(above, max_steps)
        child = await self._runs.mint(
            workload=delegate.id,
            intent=intent,
            author=author,
            ttl_s=self._bounds.ttl_s if ttl_s is None else ttl_s,
            max_steps=steps,
            labels=labels,
            labels_source=above.labels_source,
            parent=above,
            narrowed=meet(above.run.narrowed, narrowed),
            delegated=text,
        )
        # And what it has seen while the child was made: the words may hold that as well.
        labels = child.labels.join(above.labels)
        await self._runs.join_labels(child, labels, source=above.run.id)
        return child.run

    # Inside

    async def _standing(self, workload_id: str) -> Workload:
        workload = await self._inventory.get(workload_id)
        missing = self._inventory.standing(workload, self._clock.now())
        if missing is not None:
            raise Forbidden(
                f"{workload_id} takes no part in a delegation: {missing}",
                hint="`midflight workload show` says how it is registered.",
            )
        return workload

    def _check_revoked(self, above: LiveRun, *workloads: Workload) -> None:
        revocation = self._interruption.covering(
            scope
            for workload in workloads
            for scope in scopes_over(workload.id, owner=workload.owner, runs=above.run.lineage)
        )
        if revocation is not None:
            raise Forbidden(
                f"Revoked ({revocation.scope}) by {revocation.author}: {revocation.reason}",
                hint="Nothing of this scope is delegated until the revocation is lifted or ends.",
            )

    def _check_asked(
        self, above: LiveRun, narrowed: Narrowing, ttl_s: int | None, max_steps: int | None
    ) -> None:
        depth = above.run.depth + 1
        if is_too_deep(depth, max_depth=self._bounds.max_depth):
            raise Conflict(
                f"Run {above.run.id} is {above.run.depth} deep, and runs are delegated "
                f"{self._bounds.max_depth} deep at most.",
                hint="Delegate from a run above it, or raise [runs] max_depth.",
            )
        excess = beyond(above.run.narrowed, narrowed)
        if excess:
            raise Conflict(
                f"Run {above.run.id} has not what is asked for: {', '.join(excess)}.",
                hint="A child run can only have less than its parent: midflight run show.",
            )
        if ttl_s is not None and not 0 < ttl_s <= self._bounds.ttl_s:
            raise Conflict(
                f"A run lives {self._bounds.ttl_s} s at most.",
                hint="A child run ends with its parent in any case.",
            )
        if max_steps is not None and max_steps <= 0:
            raise Conflict("A run has at least one step.", hint="Leave --max-steps out for half.")
        if above.run.intent is None:
            raise Conflict(
                f"Run {above.run.id} has no intent that a child run could have.",
                hint="Open a run with an intent: midflight run open --intent …",
            )

    def _check_policy(
        self, above: LiveRun, delegator: Workload, delegate: Workload, author: Author
    ) -> None:
        now = int(self._clock.now())
        decision = self._engine.decide(
            Question(
                kind=ActionKind.DELEGATE,
                workload=delegator,
                run=above.facts(
                    now=now,
                    monitors=self._monitors.peek(
                        delegator, _TARGET.upstream, run=above.first().run
                    ),
                ),
                target=_TARGET,
                arguments={
                    "delegate": delegate.id,
                    "owner": delegate.owner,
                    "team": delegate.team,
                    "depth": above.run.depth + 1,
                    "opener": author.name,
                },
                source=Source(
                    point=point_of(author.name, author.proof, workload=delegator.id),
                    proof=author.proof,
                ),
                at=now,
            )
        )
        if not isinstance(decision, Deny | Challenge):
            return
        reasons = ", ".join(reason.policy for reason in decision.reasons)
        if isinstance(decision, Challenge):
            raise Forbidden(
                f"Delegating from {delegator.id} to {delegate.id} needs the approval of "
                f"{', '.join(decision.approvers)} ({reasons}).",
                hint=" ".join(dict.fromkeys(r.help for r in decision.reasons if r.help)),
            )
        raise Forbidden(
            f"{author.name} may not delegate from {delegator.id} to {delegate.id} ({reasons}).",
            hint=decision.help or "A policy must permit delegate for these workloads.",
        )

    async def _intent(self, above: LiveRun) -> str:
        # The store is asked: an erasure takes the intent away from runs in memory as well.
        stored = await self._store.get_run(above.run.id)
        sealed = None if stored is None else stored.run.intent
        intent = await self._sealer.open_text(above.run.id, sealed)
        if intent is None:
            raise Conflict(f"The intent of run {above.run.id} was erased.", hint="Open a new run.")
        return intent

    async def _take_steps(self, above: LiveRun, wanted: int | None) -> int:
        left = above.run.max_steps - above.steps
        steps = share(left) if wanted is None else wanted
        if 0 < steps <= left and await above.take_steps(self._store, steps):
            return steps
        raise Conflict(
            f"Run {above.run.id} has {left} of its {above.run.max_steps} steps left, "
            f"and the child would need {max(1, steps)}.",
            hint="Give a smaller --max-steps.",
        )


__all__ = ["MAX_TEXT", "Delegation"]
