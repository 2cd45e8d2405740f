"""An approval: the answer of people to one question about one action of one run.

This file owns its states, who may answer, when an answer settles it, and which change of the facts
takes a yes back. Pure: `services/approvals.py` uses a yes, `services/approval_desk.py` takes the
answers, the store keeps both and applies these functions inside its transactions.
"""

from __future__ import annotations

import base64
import enum
import hashlib
from collections.abc import Mapping, Sequence

import msgspec

from midflight.domain.decision import Reason
from midflight.domain.errors import Conflict
from midflight.domain.labels import BOTTOM, Labels
from midflight.domain.provenance import NO_FLOW, RANK, ArgumentFacts, FlowFacts
from midflight.domain.records import Sealed
from midflight.domain.response import Level
from midflight.domain.traits import Role, Traits
from midflight.domain.value import Value

OWNER = "owner"
"""Approver that stands for the owner of the workload, whoever that is."""
NOT_OWNER = "!owner"
"""Stands among approvers where policy asks for four eyes: the owner's own are none of the others.

Policies join: where another one asks the owner, the owner must agree, and somebody else, too.
"""


class ApprovalState(enum.StrEnum):
    """States of a request. Stored in records: append, never change."""

    PENDING = "pending"
    APPROVED = "approved"
    REFUSED = "refused"
    EXPIRED = "expired"
    VOID = "void"
    """The facts became worse than those that were shown, or its run ended."""
    USED = "used"


TRANSITIONS: dict[ApprovalState, frozenset[ApprovalState]] = {
    ApprovalState.PENDING: frozenset(
        {
            ApprovalState.APPROVED,
            ApprovalState.REFUSED,
            ApprovalState.EXPIRED,
            ApprovalState.VOID,
        }
    ),
    ApprovalState.APPROVED: frozenset(
        {ApprovalState.USED, ApprovalState.EXPIRED, ApprovalState.VOID}
    ),
    ApprovalState.REFUSED: frozenset(),
    ApprovalState.EXPIRED: frozenset(),
    ApprovalState.VOID: frozenset(),
    ApprovalState.USED: frozenset(),
}
"""What may follow what."""

LIVE = frozenset({ApprovalState.PENDING, ApprovalState.APPROVED})
"""States that an action can still profit from, until the request expires."""


class Shown(Value):
    """The facts that an approver sees. A yes holds for these and for better ones.

    Attributes:
        labels, labels_source: of the run, and the records that raised them.
        flow: where each key argument came from, and what speaks against the action.
        pin, traits: of what is called.
        version: policy version that asked.
        risk, response: what held for the run because of findings.
    """

    labels: Labels = BOTTOM
    labels_source: str = ""
    flow: FlowFacts = NO_FLOW
    pin: str | None = None
    traits: Traits = Traits()
    version: str = ""
    risk: int = 0
    response: str = "none"


class Answer(Value):
    """What one person said.

    Attributes:
        author, proof: who, and how that was established.
        at: Unix seconds.
        yes: whether he agrees.
        stands_for: the approvers of the request that he may answer for.
        remember_s: for how long the owner's list keeps the values; 0: not at all.
        reason: what he said to it.
    """

    author: str
    proof: str
    at: int
    yes: bool
    stands_for: tuple[str, ...]
    remember_s: int = 0
    reason: str = ""


class ApprovalRequest(Value):
    """A question to people, bound to a digest.

    Attributes:
        id: `apr_` and 26 characters.
        digest: of the action (`domain/action.py`): same run, pin, kind and judged arguments.
        run, workload, owner: whose action it is; the owner as registered when it was asked.
        kind, method, upstream, name: what is called.
        arguments: the judged arguments and parameters, sealed under the run's key.
        reasons: the policies that ask, with what they say.
        approvers: who must agree, each by a person of its own; `owner` where no policy says.
            `!owner` among them: nobody who answers for the owner counts for another of them.
        shown: the facts.
        created_at, expires_at: Unix seconds. Answered and used before `expires_at`, or a no.
        state: see there.
        answers: in the order they were given.
    """

    id: str
    digest: str
    run: str
    workload: str
    owner: str
    kind: str
    method: str
    upstream: str
    name: str
    arguments: Sealed | None
    reasons: tuple[Reason, ...]
    approvers: tuple[str, ...]
    shown: Shown
    created_at: int
    expires_at: int
    state: ApprovalState = ApprovalState.PENDING
    answers: tuple[Answer, ...] = ()

    def __repr__(self) -> str:
        return f"ApprovalRequest(id={self.id!r}, run={self.run!r}, state={self.state.value!r})"

    def is_live(self, now: float) -> bool:
        """Whether it can still be answered or used."""
        return self.state in LIVE and now < self.expires_at


def may_follow(before: ApprovalState, after: ApprovalState) -> bool:
    """Whether a request in state `before` may go to `after`."""
    return after in TRANSITIONS[before]


def stands_for(
    name: str,
    approvers: Sequence[str],
    *,
    owner: str,
    groups: Mapping[str, Sequence[str]],
    member_of: Sequence[str] = (),
) -> tuple[str, ...]:
    """The approvers that the person `name` may answer for.

    An approver is a person's name or a group: of the settings (`groups`), or one that he was found
    to be in (`member_of`). `owner` is the workload's owner, again a name or a group, and the group
    `owner` of the settings stands for every owner. Names are compared as they are written. Where
    `!owner` is among the approvers, whoever answers for the owner stands for nobody else; nor does
    anybody whom a provider alone knows (`register_of`): he may be one of the owner's own.
    """

    def is_meant(approver: str) -> bool:
        # An operator who happens to be called `owner` is not everybody's owner.
        person = owner if approver == OWNER else approver
        return name in (person, *groups.get(person, ()), *groups.get(approver, ())) or (
            person in member_of
        )

    if NOT_OWNER in approvers and (is_meant(OWNER) or register_of(name)):
        return (OWNER,) if OWNER in approvers and is_meant(OWNER) else ()
    return tuple(approver for approver in people(approvers) if is_meant(approver))


def register_of(name: str) -> str:
    """Who vouches that a name is one person: empty for operators and accounts, else a provider.

    People whom nobody has mapped are called `ISSUER#NAME`, as no account and no operator can be.
    """
    issuer, mark, _ = name.partition("#")
    return issuer if mark else ""


def people(approvers: Sequence[str]) -> tuple[str, ...]:
    """Those of the approvers who can agree: not what only says who cannot."""
    return tuple(approver for approver in approvers if approver != NOT_OWNER)


def has_agreed(approvers: Sequence[str], answers: Sequence[Answer]) -> bool:
    """Whether every approver has agreed by a person of its own.

    One person who may answer for two counts for one of them: two were asked so that two look. Who
    counts for whom is a matching, so that the order of the answers does not matter. And people of
    one register count together (`register_of`): a provider's `ISSUER#ada` may be the `ada` here.
    """
    yes = [answer for answer in answers if answer.yes]
    registers = dict.fromkeys(register_of(answer.author) for answer in yes)
    return any(
        _all_agree(approvers, [each for each in yes if register_of(each.author) == register])
        for register in registers
    )


def _all_agree(approvers: Sequence[str], yes: Sequence[Answer]) -> bool:
    taken: dict[int, str] = {}

    def place(approver: str, seen: set[int]) -> bool:
        for number, answer in enumerate(yes):
            if number in seen or approver not in answer.stands_for:
                continue
            seen.add(number)
            if number not in taken or place(taken[number], seen):
                taken[number] = approver
                return True
        return False

    wanted = dict.fromkeys(people(approvers))
    return bool(wanted) and all(place(approver, set()) for approver in wanted)


def still_missing(approvers: Sequence[str], answers: Sequence[Answer]) -> tuple[str, ...]:
    """The approvers without whom the others have agreed."""
    agreed: list[str] = []
    for approver in people(approvers):
        if has_agreed([*agreed, approver], answers):
            agreed.append(approver)
    return tuple(approver for approver in people(approvers) if approver not in agreed)


def answered(request: ApprovalRequest, answer: Answer) -> ApprovalRequest:
    """The request after an answer: one no refuses it, the last yes that was missing approves it.

    Raises:
        Conflict: it cannot be answered any more, or not by this person again.
    """
    if request.state is not ApprovalState.PENDING:
        raise Conflict(
            f"{request.id} is {request.state.value}, so it cannot be answered.",
            hint="The action has to be tried again to be asked about again.",
        )
    if answer.at >= request.expires_at:
        raise Conflict(
            f"{request.id} has expired, which is a no.",
            hint="The action has to be tried again to be asked about again.",
        )
    if any(given.author == answer.author for given in request.answers):
        raise Conflict(
            f"{answer.author} has already answered {request.id}; each approver is another person.",
            hint="midflight approval show lists who has answered.",
        )
    if not set(answer.stands_for) & set(request.approvers):
        raise Conflict(f"{answer.author} is none of the approvers of {request.id}.")
    answers = (*request.answers, answer)
    if not answer.yes:
        state = ApprovalState.REFUSED
    elif has_agreed(request.approvers, answers):
        state = ApprovalState.APPROVED
    else:
        state = ApprovalState.PENDING
    return msgspec.structs.replace(request, answers=answers, state=state)


def to_remember(request: ApprovalRequest) -> Answer | None:
    """The answer that puts the values on the owner's list: of several, that for the least time."""
    if request.state is not ApprovalState.APPROVED:
        return None
    asked = [answer for answer in request.answers if answer.yes and answer.remember_s > 0]
    return min(asked, key=lambda answer: answer.remember_s, default=None)


def binding_code(approval_id: str, digest: str) -> str:
    """What a person compares on two screens: `MF-`, and 8 characters of this very question.

    CIBA Core 1.0 §7.1 `binding_message`; short enough for it, and not to be aimed at: an agent
    chooses neither the digest's run nor the id.
    """
    told = hashlib.sha256(f"midflight binding v1\0{approval_id}\0{digest}".encode()).digest()
    text = base64.b32encode(told[:5]).decode("ascii")
    return f"MF-{text[:4]}-{text[4:]}"


def worse(shown: Shown, now: Shown) -> str | None:
    """What is worse now than what was shown, in words for people; None if nothing is."""
    if not shown.labels.covers(now.labels):
        return "The labels of the run have grown since it was shown."
    if now.pin != shown.pin or now.traits != shown.traits:
        return "What is called was pinned or reviewed anew since it was shown."
    if now.risk > shown.risk or Level(now.response).rank > Level(shown.response).rank:
        return "More was found about the run since it was shown."
    return _worse_flow(shown.flow, now.flow)


def _worse_flow(  # noqa: PLR0911 -- one return a fact, in order
    shown: FlowFacts, now: FlowFacts
) -> str | None:
    news = sorted(set(now.concerns) - set(shown.concerns))
    if news:
        return f"More speaks against it than was shown: {', '.join(news)}."
    if RANK[now.origin] > RANK[shown.origin]:
        return f"Its key arguments are {now.origin.value} now, and were {shown.origin.value}."
    if shown.asked and not now.asked:
        return "The intent does not ask for it any more."
    if not shown.carries.covers(now.carries):
        return "Its content carries more than was shown."
    before, after = _by_argument(shown.arguments), _by_argument(now.arguments)
    for (path, role), facts in after.items():
        known = before.get((path, role))
        if known is None or len(facts) > len(known):
            return f"The origin of {path} was not shown."
        if _worst(facts) > _worst(known):
            return f"The origin of {path} is worse than was shown."
        if any(f.untrusted for f in facts) and not any(f.untrusted for f in known):
            return f"{path} is named in words that somebody wrote, which was not shown."
        if max(f.confidentiality for f in facts) > max(f.confidentiality for f in known):
            return f"{path} is more confidential than was shown."
    return None


def _by_argument(
    arguments: Sequence[ArgumentFacts],
) -> dict[tuple[str, Role], list[ArgumentFacts]]:
    found: dict[tuple[str, Role], list[ArgumentFacts]] = {}
    for facts in arguments:
        found.setdefault((facts.path, facts.role), []).append(facts)
    return found


def _worst(facts: Sequence[ArgumentFacts]) -> int:
    return max(RANK[entry.origin] for entry in facts)


__all__ = [
    "LIVE",
    "NOT_OWNER",
    "OWNER",
    "TRANSITIONS",
    "Answer",
    "ApprovalRequest",
    "ApprovalState",
    "Shown",
    "answered",
    "binding_code",
    "has_agreed",
    "may_follow",
    "people",
    "register_of",
    "stands_for",
    "still_missing",
    "to_remember",
    "worse",
]
