"""`POST /ci/end`: a job says that it has ended, and its run ends with it.

Who may say so is whoever holds the job's token and its key: the same proof as for any action. There
is nothing in the body. Above: `app.py`, which answers refusals.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from midflight.apps.server.asgi import Scope, Send
from midflight.apps.server.respond import send_json
from midflight.domain.errors import Unauthenticated
from midflight.domain.identity import Caller
from midflight.services.identity import Identity
from midflight.services.job_runs import JobRuns
from midflight.wire import json

PATH = "/ci/end"

Identify = Callable[[Scope], Awaitable[Caller]]


class JobEnd:
    """The end of jobs."""

    def __init__(self, *, identity: Identity, job_runs: JobRuns) -> None:
        """`identity` words the refusals."""
        self._identity = identity
        self._job_runs = job_runs

    async def serve(self, scope: Scope, send: Send, identify: Identify) -> None:
        """Answer one request; `identify` proves who it is from."""
        if scope["method"] != "POST":
            await _say(send, 405, "method_not_allowed", headers=[(b"allow", b"POST")])
            return
        try:
            caller = await identify(scope)
        except Unauthenticated as error:
            challenge = self._identity.challenge_header(error).encode("latin-1")
            await _say(
                send, 401, error.code, str(error), headers=[(b"www-authenticate", challenge)]
            )
            return
        run = caller.run
        ended = run is not None and await self._job_runs.end(run, workload=caller.workload)
        await send_json(send, json.encode({"run": run, "ended": ended}))


async def _say(
    send: Send,
    status: int,
    code: str,
    message: str = "",
    *,
    headers: list[tuple[bytes, bytes]],
) -> None:
    body = json.encode({"code": code, "message": message})
    await send_json(send, body, status=status, headers=headers)


__all__ = ["PATH", "JobEnd"]
