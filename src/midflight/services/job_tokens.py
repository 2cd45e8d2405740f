"""CI tokens at the authorization server: a subject token whose run is the job's.

The job is its workload, so nobody else opens the run; `job_federation.py` says whose job it is, and
`job_runs.py` which run it has. What is issued for it ends within minutes.
"""

from __future__ import annotations

from midflight.domain.records import Changed
from midflight.services.job_federation import JobFederation
from midflight.services.job_runs import JobRuns, author_of
from midflight.services.openers import BY_OAUTH
from midflight.services.ports.authorization_proofs import Subject
from midflight.services.ports.clock import Clock
from midflight.services.ports.recorder import Recorder

JWT = "urn:ietf:params:oauth:token-type:jwt"


class JobTokens:
    """The `SubjectTokens` of CI systems."""

    def __init__(
        self, *, federation: JobFederation, job_runs: JobRuns, recorder: Recorder, clock: Clock
    ) -> None:
        """What it stands on."""
        self._federation = federation
        self._job_runs = job_runs
        self._recorder = recorder
        self._clock = clock

    async def resolve(self, token: str, kind: str, *, now: float) -> Subject | None:
        """See `SubjectTokens`. The token is spent when this returns.

        Raises:
            Unauthenticated, Forbidden, NotFound, Conflict, Unavailable: as admitting and joining.
        """
        del now
        if kind != JWT or not self._federation.knows(token):
            return None
        subject = await self._federation.admit(token)
        run = await self._job_runs.join(subject)
        author = author_of(subject)
        ticket = self._recorder.append(
            Changed(
                at=self._clock.now(),
                what=f"job.admit {subject.workload}",
                author=author.name,
                proof=author.proof,
                details={
                    "issuer": subject.issuer,
                    "job": subject.job,
                    "run": run.id,
                    "claims": dict(subject.claims),
                    "may_write": subject.may_write,
                    "no_write": subject.no_write,
                },
            )
        )
        await ticket.durable()
        return Subject(
            workload=subject.workload,
            name=author.name,
            proof=author.proof.removeprefix(BY_OAUTH),
            expires_at=subject.expires_at,
            run=run.id,
            capped=True,
        )


__all__ = ["JobTokens"]
