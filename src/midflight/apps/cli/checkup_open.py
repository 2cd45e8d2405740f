"""Check-ups of open questions: what nobody answers, whom nobody can tell, what nobody reviewed."""

from __future__ import annotations

from collections.abc import Iterator

from midflight.apps.cli.finding import Finding, fail, ok, warn
from midflight.apps.control.client import ControlClient


def open_questions(client: ControlClient) -> Iterator[Finding]:
    """All of them, as the running plane knows them."""
    waiting = [each for each in client.get("/v1/open") if each["state"] == "open"]
    unheard = sum(each["is_exhausted"] for each in waiting if each["told"])
    untold = sum(not each["next"] for each in waiting)
    if unheard:
        yield fail(
            "open questions",
            f"{unheard} were told to everybody there is, and nobody has answered",
            "midflight open shows them; midflight notice ack ID says that you have one.",
        )
    if untold:
        yield warn(
            "open questions",
            f"{untold} can be told to nobody: no contact is set for whom they belong to",
            "Add [contacts.<owner>] and [escalation] default: docs/escalation.md.",
        )
    if not unheard and not untold:
        told = f"{len(waiting)} wait, and somebody is told of each" if waiting else "none wait"
        yield ok("open questions", told)
    overdue = client.get("/v1/break-glass", overdue=True)
    for entry in overdue:
        yield fail(
            "break-glass",
            f"{entry['id']} of {entry['author']} for {entry['workload']} was never reviewed",
            "Another operator looks at what passed: midflight break-glass review ID --note TEXT.",
        )
    for entry in client.get("/v1/break-glass"):
        if not entry["closed_at"]:
            yield warn(
                "break-glass",
                f"{entry['id']} is open for {entry['workload']}, by {entry['author']}",
                "midflight break-glass close ID ends it.",
            )


__all__ = ["open_questions"]
