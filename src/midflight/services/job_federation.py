"""Federation of jobs: a token of a CI job (or of any issuer in the table) in, a subject out.

The table is fixed by settings; what a token says of its issuer only finds the row. A token is good
for one exchange, and what is given for it ends within minutes. What is opened for a job hangs on
the job: `job_runs.py`. Reading tokens is handed in (`midflight.wire.tokens`), keys come from
`key_sets.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from midflight.domain.errors import Forbidden, Misconfigured, Unauthenticated
from midflight.domain.job_federation import (
    MAX_AGE_S,
    MAX_CLUSTER_LIFE_S,
    MAX_LIFE_S,
    FederatedSubject,
    IssuerKind,
    Rule,
    fits,
    job_of,
    kept,
    no_write,
    rule_problems,
)
from midflight.domain.outside_token import OutsideToken, Profile
from midflight.domain.value import Value
from midflight.services.key_sets import KeySets, KeySource
from midflight.services.ports.clock import Clock
from midflight.services.ports.proofs import OutsideTokens
from midflight.services.ports.store import Store
from midflight.services.ports.token_review import TokenReview

REPLAY_PURPOSE = "federation"

_TYPES: Mapping[IssuerKind, tuple[str | None, ...]] = {
    IssuerKind.GITHUB: ("JWT",),
    IssuerKind.GITLAB: ("JWT",),
    IssuerKind.KUBERNETES: (None, "JWT"),  # clusters send no typ
    IssuerKind.OIDC: ("JWT", None),
}
# A cluster's token lives an hour and is renewed in the pod's file when 80 % of it is over, so its
# age says little there; that it is used once, and TokenReview, say more.
_LIFETIME_S: Mapping[IssuerKind, int] = {
    IssuerKind.GITHUB: 3_600,
    IssuerKind.GITLAB: 86_400,
    IssuerKind.KUBERNETES: 86_400,
    IssuerKind.OIDC: 86_400,
}


class Issuer(Value):
    """One row of the table.

    Attributes:
        name: what operators call it.
        kind: whose claims its tokens have.
        audience: what their `aud` must be, alone: ours, and of no other broker.
        keys: where its keys are; `keys.issuer` is what `iss` must be.
        algorithms: its allow-list.
        rules: who speaks for whom; the first that fits counts.
        review: asks the cluster whether the token still holds, or None.
    """

    name: str
    kind: IssuerKind
    audience: str
    keys: KeySource
    rules: tuple[Rule, ...]
    algorithms: tuple[str, ...] = ("RS256",)
    review: TokenReview | None = None


class JobFederation:
    """The table of issuers, and the door that their tokens come through."""

    def __init__(
        self,
        *,
        issuers: Sequence[Issuer],
        tokens: OutsideTokens,
        key_sets: KeySets,
        store: Store,
        clock: Clock,
    ) -> None:
        """Check the table.

        Raises:
            Misconfigured: two rows for one issuer, or rules that match too much; every problem.
        """
        self._issuers = {issuer.keys.issuer: issuer for issuer in issuers}
        self._tokens = tokens
        self._key_sets = key_sets
        self._store = store
        self._clock = clock
        problems = [
            f"{issuer.name}: rule for {rule.workload}: {problem}"
            for issuer in issuers
            for rule in issuer.rules
            for problem in rule_problems(rule, kind=issuer.kind)
        ]
        if len(self._issuers) != len(issuers):
            problems.append("two issuers have the same name in their tokens")
        if problems:
            raise Misconfigured("The table of issuers cannot be used.", problems)

    def knows(self, text: str) -> bool:
        """Whether a token claims to be from an issuer of the table."""
        try:
            return self._tokens.unverified(text).issuer in self._issuers
        except Unauthenticated:
            return False

    async def admit(self, text: str) -> FederatedSubject:
        """Verify a token, find its rule, and spend it.

        Raises:
            Unauthenticated: an issuer that is not in the table, a token that does not hold, is
                too old, or was exchanged before.
            Forbidden: it holds, and no rule is for it.
            NoDocument: the keys of its issuer cannot be had.
            StoreUnavailable: that it was used cannot be noted, so it is not accepted.
        """
        hint = self._tokens.unverified(text)
        issuer = self._issuers.get(hint.issuer)
        if issuer is None:
            # Its name is not repeated: it is the caller's text until a signature holds.
            raise Unauthenticated(
                "The token is from no issuer of this plane.",
                hint="An operator adds an [[ci.issuer]] to midflight.toml.",
            )
        now = self._clock.now()
        jwks = await self._key_sets.jwks(issuer.keys, kid=hint.kid)
        token = self._tokens.verify(text, profile=_profile(issuer), jwks=jwks, now=now)
        rule = next(
            (r for r in issuer.rules if fits(r, kind=issuer.kind, claims=token.claims)), None
        )
        if rule is None:
            raise Forbidden(
                f"No rule of issuer {issuer.name} is for this job.",
                hint="An operator compares the ids of the job with [[ci.issuer.rules]].",
            )
        job = job_of(issuer.kind, token.claims)
        if job is None:
            raise Forbidden(
                f"The token of issuer {issuer.name} does not say which job it is for.",
                hint="Use a token that the platform issues to a job (for a pod in Kubernetes).",
            )
        # Before it is spent: a token that a cluster no longer knows was not used.
        if issuer.review is not None:
            await issuer.review.confirm(text, audience=issuer.audience, subject=token.subject)
        await self._spend(token, now)
        why = no_write(rule, kind=issuer.kind, claims=token.claims)
        return FederatedSubject(
            workload=rule.workload,
            issuer=issuer.name,
            job=f"{issuer.name}/{job}",
            claims=kept(issuer.kind, token.claims),
            may_write=not why,
            no_write=why,
            expires_at=int(now) + _life_s(issuer),
        )

    async def _spend(self, token: OutsideToken, now: float) -> None:
        fresh = await self._store.use_once(
            REPLAY_PURPOSE, token.replay_key, until=token.until, now=int(now)
        )
        if not fresh:
            raise Unauthenticated(
                "The token has been exchanged before.",
                hint="Ask the platform for a new one; each is good for one exchange.",
            )


def _profile(issuer: Issuer) -> Profile:
    cluster = issuer.kind is IssuerKind.KUBERNETES
    return Profile(
        kind="CI token",
        issuer=issuer.keys.issuer,
        audience=issuer.audience,
        algorithms=issuer.algorithms,
        types=_TYPES[issuer.kind],
        required=("iat",),
        max_age_s=None if cluster else MAX_AGE_S,
        max_lifetime_s=_LIFETIME_S[issuer.kind],
        # GitHub names the certificate of the key besides the key.
        extra_headers=frozenset({"x5t"}) if issuer.kind is IssuerKind.GITHUB else frozenset(),
    )


def _life_s(issuer: Issuer) -> int:
    if issuer.kind is IssuerKind.KUBERNETES and issuer.review is None:
        return MAX_CLUSTER_LIFE_S
    return MAX_LIFE_S


__all__ = ["REPLAY_PURPOSE", "Issuer", "JobFederation"]
