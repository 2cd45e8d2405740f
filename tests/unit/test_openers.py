"""From where a run is opened, and whether a job acts."""

from __future__ import annotations

import pytest

from midflight.services.openers import BY_JOB, is_pipeline


@pytest.mark.parametrize(
    ("kind", "opened_by", "said"),
    [
        ("pipeline", "olivia (peer-uid:1000)", True),
        ("agent", f"ci:github:0123 ({BY_JOB})", True),
        ("agent", "olivia (peer-uid:1000)", False),
        ("service", "", False),
        ("", f"({BY_JOB}) olivia (peer-uid:1000)", False),
        ("", f"ci:github:0123 (oauth:{BY_JOB})", False),
    ],
)
def test_a_job_is_known_by_its_workload_or_by_who_opened_the_run(
    kind: str, opened_by: str, said: bool
) -> None:
    assert is_pipeline(kind, opened_by=opened_by) is said
