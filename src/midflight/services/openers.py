"""From where somebody opens or delegates a run, for policy: `source.point`.

    implicit   Midflight itself, for a plain client
    control    an operator, at the control API
    workload   a workload that has proved itself at the authorization server, for itself
    job        a job of a CI system that a rule in the settings lets in
    oauth      anybody else who has proved himself there: a person, another workload

Who proves himself at the authorization server is no operator, whatever his name is.
"""

from __future__ import annotations

BY_OAUTH = "oauth:"
"""How the proof of an author begins who came by the authorization server."""


BY_JOB = "federation"
"""The proof of a job (`job_runs.py`)."""
_BY_JOB = f" ({BY_JOB})"


PIPELINE = "pipeline"
"""The kind of a workload that is a job of a CI system (`Workload.kind`)."""


def is_pipeline(kind: str, *, opened_by: str) -> bool:
    """Whether a job acts, by the kind of its workload or by who opened the run."""
    return kind == PIPELINE or opened_by.endswith(_BY_JOB)


def point_of(opener: str, proof: str, *, workload: str) -> str:
    """The point of an opening for this workload."""
    if proof.startswith(BY_OAUTH):
        return "workload" if opener == workload else "oauth"
    if proof == BY_JOB:
        return "job"
    return "implicit" if opener.startswith("midflight:") else "control"


__all__ = ["BY_JOB", "BY_OAUTH", "PIPELINE", "is_pipeline", "point_of"]
