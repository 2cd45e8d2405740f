"""What lets somebody in once: join tokens, and which process was started for which run.

Values only. Above: `services/registration.py`, `services/launches.py`.
"""

from __future__ import annotations

from midflight.domain.value import Value


class JoinToken(Value):
    """A one-time secret as it is kept: its hash, never itself.

    Attributes:
        id: `join_` and 26 characters; stands in records and as the selector `join_token:<id>`.
        digest: SHA-256 of the token, hexadecimal.
        spiffe_id: of the registered workload that whoever brings it becomes.
        expires_at: Unix seconds.
        added_by, proof, added_at: who made it, how that was proved, Unix seconds.
    """

    id: str
    digest: str
    spiffe_id: str
    expires_at: int
    added_by: str
    proof: str
    added_at: int


class Launch(Value):
    """A process that the launcher started for a run. The run ends when either process does.

    Attributes:
        run: id of the run.
        workload: its SPIFFE ID.
        process: `PID@START` of the process that was started.
        launcher: `PID@START` of the process that started it.
        boot: the kernel's boot id, since start times are counted from there.
        uid: the user it runs as.
        author, proof: of the operator who launched it.
        at: Unix seconds.
    """

    run: str
    workload: str
    process: str
    launcher: str
    boot: str
    uid: int
    author: str
    proof: str
    at: int


__all__ = ["JoinToken", "Launch"]
