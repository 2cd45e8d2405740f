"""How clients are told that a person is asked: the messages of each protocol version.

- 2026-07-28, Multi Round-Trip Requests and Elicitation §URL Mode: `input_required` with a page.
- Tasks extension (SEP-2663): a task that is working, or asks to have a page opened.
- 2025-11-25, Client/Elicitation §URL Mode: `elicitation/create`, error -32042, the notice of its
  completion.
- all: progress of the call that waits.

Only the page is named, and nothing that would let its reader act: who opens it proves who he is. A
form is never asked for, since its answer would come from the agent's side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from midflight.domain.held import iso
from midflight.domain.value import JSON, JSONObject
from midflight.wire.mcp.translate import TASK, URL_ELICITATION_REQUIRED

PROGRESS: Final = "notifications/progress"
COMPLETE: Final = "notifications/elicitation/complete"
ELICIT: Final = "elicitation/create"
QUESTION: Final = "approval"
"""Key of the question in `inputRequests`."""
POLL_MS: Final = 2_000


def page(*, url: str, message: str) -> JSONObject:
    """Params of a URL-mode elicitation of 2026-07-28."""
    return {"mode": "url", "url": url, "message": message}


def legacy_page(*, url: str, message: str, elicitation: str) -> JSONObject:
    """Params of a URL-mode elicitation of 2025-11-25, where each has an id."""
    return {**page(url=url, message=message), "elicitationId": elicitation}


def required_error(page_params: JSONObject, *, message: str, data: JSONObject) -> JSONObject:
    """The error that asks for a page (2025-11-25, §URL Elicitation Required Error)."""
    return {
        "code": URL_ELICITATION_REQUIRED,
        "message": message,
        "data": {**data, "elicitations": [page_params]},
    }


def progress(token: JSON, *, remaining_s: float, message: str) -> JSONObject:
    """Params of a progress notice of a call that waits at most `remaining_s` seconds more.

    `progress` has to grow with each notice. What the upstream says later under the same token
    begins at zero, so this counts up to zero: -50, -40, …
    """
    return {"progressToken": token, "progress": min(-round(remaining_s, 3), -1), "message": message}


def task(
    task_id: str,
    status: str,
    *,
    message: str,
    created_at: int,
    updated_at: int,
    ends_at: int,
) -> JSONObject:
    """A task's outline; times are Unix seconds, `ends_at` when it is forgotten."""
    return {
        "taskId": task_id,
        "status": status,
        "statusMessage": message,
        "createdAt": iso(created_at),
        "lastUpdatedAt": iso(updated_at),
        "ttlMs": max(0, ends_at - created_at) * 1_000,
        "pollIntervalMs": POLL_MS,
    }


def created(outline: JSONObject) -> JSONObject:
    """The answer that gives a task in place of a result."""
    return {"resultType": TASK, **outline}


def questions(asked: Sequence[tuple[str, str, JSONObject]]) -> JSONObject:
    """`inputRequests` of (key, method, params)."""
    return {key: {"method": method, "params": params} for key, method, params in asked}


__all__ = [
    "COMPLETE",
    "ELICIT",
    "POLL_MS",
    "PROGRESS",
    "QUESTION",
    "created",
    "legacy_page",
    "page",
    "progress",
    "questions",
    "required_error",
    "task",
]
