"""Events: what a detector sees of an action.

Twice at most: when it is about to leave or refused, and when it has ended. An event is made of what
is recorded, so that what a detector finds can be found again in the ledger. It holds no argument
and no word of an upstream. Above: `services/detection.py`.
"""

from __future__ import annotations

from midflight.domain.decision import DenyCode
from midflight.domain.labels import BOTTOM, Labels
from midflight.domain.records import Terminal
from midflight.domain.traits import Effect, Reach
from midflight.domain.value import Value


class Event(Value):
    """One step of one action.

    Attributes:
        at: Unix seconds.
        mono: monotonic seconds, for rates: stepping the wall clock changes none.
        record: id of its intent, or of its outcome where there is none.
        state: how it ended; None while it is about to leave.
        workload, owner, team: whose it is; the last two are empty for one that is not registered.
        run: in which run; empty before one is known.
        family: the first of the runs that this one descends from.
        upstream, name, kind, method: what it calls; `name` as it is recorded.
        effect, reach, reviewed: traits of what it calls.
        known: whether there is such a thing; False for names that nobody serves.
        code: why it was refused.
        policies: ids of the policies (or `midflight:<rule>`) that refused it.
        digest: of the judged action; equal digests are the same action in the same run.
        labels: of the run when it was judged.
        bytes_out, bytes_in: what has left and come back, once it has ended.
        undone: it has ended, and the upstream says that it did nothing: an error, also as a result.
        peer, proof, token: where and by which proof it came in.
        approved: whether a person has said yes to it.
        pipeline: whether a job of a CI system acts: the workload is registered as a pipeline, or a
            job opened the run.
    """

    at: float
    mono: float
    record: str
    state: Terminal | None
    workload: str
    upstream: str
    name: str
    kind: str
    owner: str = ""
    team: str = ""
    run: str = ""
    family: str = ""
    method: str = ""
    effect: Effect = Effect.EXECUTE
    reach: Reach = Reach.OPEN
    reviewed: bool = False
    known: bool = True
    code: DenyCode | None = None
    policies: tuple[str, ...] = ()
    digest: str = ""
    labels: Labels = BOTTOM
    bytes_out: int = 0
    bytes_in: int = 0
    undone: bool = False
    peer: str = ""
    proof: str = ""
    token: str = ""
    approved: bool = False
    pipeline: bool = False


__all__ = ["Event"]
