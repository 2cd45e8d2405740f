"""The tasks extension of 2026-07-28 (SEP-2663) for the reference server, as far as the suite goes.

The SDK knows the extension's shapes as those of an extension, and has no tasks of its own. Here the
server decides: a tool that takes long answers with a task if the client declared the extension, and
the client polls, answers and cancels by the task's id. Tasks live until the server ends.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

from mcp import types
from mcp.server.lowlevel import Server
from mcp.server.mcpserver.server import require_client_extension
from mcp.shared.exceptions import MCPError
from pydantic import Field

from conformance.reference_questions import Context, form
from conformance.reference_tools import Call, Toolbox, text

EXTENSION: Final = "io.modelcontextprotocol/tasks"
TTL_MS: Final = 600_000
POLL_MS: Final = 50

TOOLBOX: Final = Toolbox()

Work = Callable[["Job"], Awaitable[types.CallToolResult]]


class Job:
    """One task."""

    def __init__(self, work: Work) -> None:
        self.id = secrets.token_urlsafe(16)
        self.status = "working"
        self.created = self.updated = _now()
        self.outcome: dict[str, Any] = {}
        self.questions: dict[str, types.ElicitRequest] = {}
        self._answers: dict[str, asyncio.Future[Any]] = {}
        self._running = asyncio.ensure_future(self._run(work))

    async def _run(self, work: Work) -> None:
        try:
            result = await work(self)
        except asyncio.CancelledError:
            self._settle("cancelled", {})
        except MCPError as error:
            self._settle("failed", {"error": _dumped(error.error)})
        else:
            self._settle("completed", {"result": _dumped(result)})

    def _settle(self, status: str, outcome: dict[str, Any]) -> None:
        self.status, self.outcome, self.updated = status, outcome, _now()
        self.questions.clear()

    async def ask(self, key: str, question: types.ElicitRequest) -> Any:
        """Park until the client has answered."""
        answer = self._answers[key] = asyncio.get_running_loop().create_future()
        self.questions[key] = question
        self.status, self.updated = "input_required", _now()
        return await answer

    def answer(self, key: str, answer: Any) -> None:
        """What a client says to one of the questions; anything else is ignored."""
        if self.questions.pop(key, None) is None:
            return
        self._answers.pop(key).set_result(answer)
        if not self.questions:
            self.status, self.updated = "working", _now()

    async def cancel(self) -> None:
        """End it, if it has not ended."""
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)

    def outline(self) -> dict[str, Any]:
        """What every message about the task says."""
        return {
            "taskId": self.id,
            "status": self.status,
            "createdAt": self.created,
            "lastUpdatedAt": self.updated,
            "ttlMs": TTL_MS,
            "pollIntervalMs": POLL_MS,
        }

    def detailed(self) -> dict[str, Any]:
        """What `tasks/get` says."""
        asked = {key: _dumped(question) for key, question in self.questions.items()}
        return {
            **self.outline(),
            **self.outcome,
            **({"inputRequests": asked} if asked else {}),
        }


class Named(types.RequestParams):
    """Params of all methods of the extension."""

    task_id: str = Field(alias="taskId")


class Updated(Named):
    """Params of `tasks/update`."""

    input_responses: dict[str, Any] = Field(alias="inputResponses", default_factory=dict)


def serve_tasks(server: Server[Any], jobs: dict[str, Any]) -> None:
    """Declare the extension and serve its methods; `jobs` by id are shared with the tools."""

    def found(context: Context, params: Named) -> Job:
        require_client_extension(context, EXTENSION)
        header = context.request.headers.get("mcp-name") if context.request else None
        if header not in (None, params.task_id):
            raise MCPError(code=types.HEADER_MISMATCH, message="Mcp-Name names another task")
        job: Job | None = jobs.get(params.task_id)
        if job is None:
            raise MCPError(code=types.INVALID_PARAMS, message="There is no such task.")
        return job

    async def get(context: Context, params: Named) -> dict[str, Any]:
        return found(context, params).detailed()

    async def update(context: Context, params: Updated) -> dict[str, Any]:
        job = found(context, params)
        for key, answer in params.input_responses.items():
            job.answer(key, answer)
        return {}

    async def cancel(context: Context, params: Named) -> dict[str, Any]:
        await found(context, params).cancel()
        return {}

    server.extensions[EXTENSION] = {}
    server.add_request_handler("tasks/get", Named, get)
    server.add_request_handler("tasks/update", Updated, update)
    server.add_request_handler("tasks/cancel", Named, cancel)


async def _started(call: Call, work: Work, *, only_as_task: bool = False) -> Any:
    """The task that does the work, or the work's result for a client that knows no tasks."""
    extensions = call.capabilities.extensions or {}
    if not call.modern or (EXTENSION not in extensions and not only_as_task):
        return await work(Job(_nothing))
    require_client_extension(call.context, EXTENSION)
    job = Job(work)
    call.shared.jobs[job.id] = job
    return {"resultType": "task", **job.outline()}


async def _nothing(job: Job) -> types.CallToolResult:
    return text()


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _dumped(model: Any) -> dict[str, Any]:
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)


# Tools


@TOOLBOX.offer("greet", "Never a task.", {"name": {"type": "string"}}, required=("name",))
async def greet(call: Call) -> Any:
    return text(f"Hello, {call.arguments['name']}!")


@TOOLBOX.offer(
    "slow_compute",
    "Takes as long as it is told to.",
    {"seconds": {"type": "number"}, "label": {"type": "string"}},
    required=("seconds",),
)
async def slow_compute(call: Call) -> Any:
    async def work(job: Job) -> types.CallToolResult:
        await asyncio.sleep(float(call.arguments["seconds"]))
        return text(f"Computed {call.arguments.get('label')}.")

    return await _started(call, work)


@TOOLBOX.offer("failing_job", "A task that fails as tools fail.")
async def failing_job(call: Call) -> Any:
    async def work(job: Job) -> types.CallToolResult:
        await asyncio.sleep(POLL_MS / 1_000)
        return types.CallToolResult(content=text("It failed.").content, is_error=True)

    return await _started(call, work, only_as_task=True)


@TOOLBOX.offer("protocol_error_job", "A task that breaks.")
async def protocol_error_job(call: Call) -> Any:
    async def work(job: Job) -> types.CallToolResult:
        await asyncio.sleep(POLL_MS / 1_000)
        raise MCPError(code=types.INTERNAL_ERROR, message="It broke.")

    return await _started(call, work)


@TOOLBOX.offer("confirm_delete", "A task that asks.", {"filename": {"type": "string"}})
async def confirm_delete(call: Call) -> Any:
    async def work(job: Job) -> types.CallToolResult:
        confirm = {"confirm": {"type": "boolean"}}
        answer = await job.ask("confirm", form("Really?", confirm, "confirm"))
        return text(f"{call.arguments.get('filename')}: {answer}")

    return await _started(call, work, only_as_task=True)


@TOOLBOX.offer("multi_input", "A task that asks two things at once.")
async def multi_input(call: Call) -> Any:
    async def work(job: Job) -> types.CallToolResult:
        question = form("Your name?", {"name": {"type": "string"}}, "name")
        answers = await asyncio.gather(job.ask("first", question), job.ask("second", question))
        return text(f"{answers}")

    return await _started(call, work, only_as_task=True)


@TOOLBOX.offer("test_tool_with_task", "Asks first, and is a task then.")
async def asking_then_task(call: Call) -> Any:
    question = form("What is your name?", {"name": {"type": "string"}}, "name")
    answer = await call.ask("user_name", question)
    if isinstance(answer, types.InputRequiredResult):
        return answer

    async def work(job: Job) -> types.CallToolResult:
        return text(f"Hello, {(answer.content or {}).get('name')}!")

    return await _started(call, work)


__all__ = ["TOOLBOX", "serve_tasks"]
