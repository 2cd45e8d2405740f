"""Whether a run may have a lease, and how wide: rules of Midflight first, policy then.

A lease only narrows: what it grants is in the credential's scopes, in what was asked for and in
what is left to the run. It is asked for through policy (kind `lease`) by whoever has had the action
itself permitted, so the question carries that action's traits. A challenge is a refusal here: no
request is filed for a lease, and the refusal says who would have to agree.
Below: `interruption.py`, the policy port. Above: `broker.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from midflight.domain.action import ActionKind
from midflight.domain.decision import Challenge, Deny, DenyCode, Permit
from midflight.domain.identity import Workload
from midflight.domain.lease import Credential, Revocability
from midflight.domain.narrowing import Narrowing, outside
from midflight.domain.question import Question, Source, Target
from midflight.domain.revocation import ScopeKind, scopes_over
from midflight.domain.run import RunState
from midflight.domain.tool import PinState
from midflight.domain.traits import Effect, Traits
from midflight.domain.value import JSON
from midflight.services.interruption import Interruption
from midflight.services.live_run import LiveRun
from midflight.services.monitors import Monitors
from midflight.services.ports.clock import Clock
from midflight.services.ports.policy import PolicyEngine
from midflight.services.refusing import deny, not_open, revoked

SCOPE_EFFECTS = "scope_effects"
"""Setting of a credential: what each of its scopes can do to the world, as an effect."""


class LeaseAsking:
    """See the module."""

    def __init__(
        self,
        *,
        engine: PolicyEngine,
        interruption: Interruption,
        monitors: Monitors,
        clock: Clock,
    ) -> None:
        """Shares its parts with the guard."""
        self._engine = engine
        self._interruption = interruption
        self._monitors = monitors
        self._clock = clock

    def ask(
        self,
        live: LiveRun,
        workload: Workload,
        credential: Credential,
        *,
        revocability: Revocability,
        upstream: str,
        traits: Traits,
        scopes: Sequence[str] | None,
        source: Source,
    ) -> tuple[str, ...] | Deny:
        """The scopes that a lease may have, or why there is none. Synchronous, no I/O."""
        refusal = self.look(live, workload, credential, upstream=upstream)
        if refusal is not None:
            return refusal
        granted = grant(credential, asked=scopes, narrowed=live.run.narrowed)
        if isinstance(granted, Deny):
            return granted
        target = Target(
            upstream=upstream,
            name=credential.name,
            pin=None,
            pin_state=PinState.PINNED,
            traits=traits,
        )
        now = int(self._clock.now())
        decision = self._engine.decide(
            Question(
                kind=ActionKind.LEASE,
                workload=workload,
                run=live.facts(
                    now=now,
                    monitors=self._monitors.peek(workload, upstream, run=live.first().run),
                ),
                target=target,
                arguments={
                    "credential": credential.name,
                    "backend": credential.backend,
                    "upstream": upstream,
                    "bound": upstream in credential.upstreams,
                    "scopes": list(granted),
                    "ttl_s": credential.ttl_s,
                    "revocability": revocability.value,
                },
                source=source,
                at=now,
            )
        )
        match decision:
            case Permit():
                return granted
            case Deny():
                return decision
            case Challenge():
                return Deny(
                    version=decision.version,
                    code=DenyCode.APPROVAL_REQUIRED,
                    reasons=decision.reasons,
                    help=f"A lease of {credential.name} would need the approval of "
                    f"{', '.join(decision.approvers) or 'somebody'}, and none can be asked for: "
                    "a policy must permit it, or ask for approval of the action itself.",
                )

    def look(
        self, live: LiveRun, workload: Workload, credential: Credential, *, upstream: str
    ) -> Deny | None:
        """What forbids a lease whatever policy says; None if nothing does."""
        if upstream not in credential.upstreams:
            return deny(
                DenyCode.POLICY,
                "lease-bound",
                f"Credential {credential.name} is not for {upstream}.",
                "An operator says for which upstreams it is: midflight credential add --upstream.",
            )
        run = live.run
        if live.state is not RunState.OPEN and live.state is not RunState.EXHAUSTED:
            return not_open(f"Run {run.id} has ended ({live.state.value}).")
        if run.expires_at <= self._clock.now():
            return not_open(f"Run {run.id} has no time left for a lease.")
        revocation = self._interruption.covering(
            [
                *scopes_over(workload.id, owner=workload.owner, runs=run.lineage),
                (ScopeKind.CREDENTIAL, credential.name),
                (ScopeKind.UPSTREAM, upstream),
            ]
        )
        if revocation is not None:
            return revoked(
                revocation.id,
                f"Revoked ({revocation.scope.kind.value}) by {revocation.author}: "
                f"{revocation.reason}",
            )
        why = outside(
            run.narrowed,
            kind=ActionKind.LEASE,
            upstream=upstream,
            name=credential.name,
            traits=Traits(),
        )
        if why is not None:
            return deny(
                DenyCode.NARROWED,
                "narrowed",
                f"A lease for {upstream} is not for this run: {why}.",
                "The parent run may have it, or delegate for it.",
            )
        return None


def grant(
    credential: Credential, *, asked: Sequence[str] | None, narrowed: Narrowing
) -> tuple[str, ...] | Deny:
    """The scopes of a lease: never more than the credential's, than asked for, than is left.

    A run that was narrowed to some effects gets the scopes that are declared to have one of these
    (`scope_effects` in the credential's settings); what a scope can do that is not declared there
    is unknown, so it counts as everything. A credential without scopes has one width.
    """
    most = credential.scopes
    if asked is not None and (beyond := sorted(set(asked) - set(most))):
        return deny(
            DenyCode.NARROWED,
            "lease-scopes",
            f"Credential {credential.name} has not what is asked for: {', '.join(beyond)}.",
            f"It has: {', '.join(most) or 'no scopes'}.",
        )
    wanted = most if asked is None else tuple(scope for scope in most if scope in set(asked))
    if narrowed.effects is None or not most:
        return wanted
    granted = tuple(scope for scope in wanted if _effect(credential, scope) in narrowed.effects)
    if granted == wanted or (granted and asked is None):
        return granted
    missing = ", ".join(scope for scope in wanted if scope not in granted)
    return deny(
        DenyCode.NARROWED,
        "lease-narrowed",
        f"This run was delegated for {', '.join(sorted(narrowed.effects)) or 'nothing'} only, and "
        f"{credential.name} has no scope for that but {missing}.",
        f"An operator declares what scopes can do: --set {SCOPE_EFFECTS}.SCOPE=read.",
    )


def _effect(credential: Credential, scope: str) -> Effect | None:
    declared: JSON = credential.settings.get(SCOPE_EFFECTS)
    value = declared.get(scope) if isinstance(declared, dict) else None
    return next((effect for effect in Effect if effect.value == value), None)


__all__ = ["SCOPE_EFFECTS", "LeaseAsking", "grant"]
