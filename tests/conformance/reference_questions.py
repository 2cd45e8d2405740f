"""Questions that the reference server asks of a client, in both generations of the protocol.

In the legacy generation a question is a request on the stream of the call it belongs to; in the
modern one it is part of an `input_required` result, and the retry of the call brings the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mcp import types
from mcp.server.context import ServerRequestContext

MODERN: Final = "2026-07-28"

Context = ServerRequestContext[Any, Any]
Question = types.ElicitRequest | types.CreateMessageRequest | types.ListRootsRequest
Params = types.CallToolRequestParams | types.GetPromptRequestParams


def form(message: str, properties: dict[str, Any], *required: str) -> types.ElicitRequest:
    """A question to the user, as a form."""
    schema = {"type": "object", "properties": properties, "required": list(required)}
    return types.ElicitRequest(
        params=types.ElicitRequestFormParams(message=message, requested_schema=schema)
    )


def sampling(prompt: str, tokens: int = 100) -> types.CreateMessageRequest:
    """A question to the client's model."""
    said = types.SamplingMessage(role="user", content=types.TextContent(type="text", text=prompt))
    return types.CreateMessageRequest(
        params=types.CreateMessageRequestParams(messages=[said], max_tokens=tokens)
    )


@dataclass
class Asked:
    """A request in which the client can be asked something."""

    context: Context
    params: Params

    @property
    def modern(self) -> bool:
        return self.context.protocol_version >= MODERN

    async def ask(self, key: str, question: Question) -> Any:
        """The client's answer, or the interim result that asks for it."""
        answers = await self.ask_all({key: question})
        return answers if isinstance(answers, types.InputRequiredResult) else answers[key]

    async def ask_all(
        self, questions: Mapping[str, Question], state: str | None = None
    ) -> dict[str, Any] | types.InputRequiredResult:
        """The client's answers, or the interim result that asks for them.

        With a `state`, answers count only together with that very state.
        """
        if not self.modern:
            return {key: await self._ask_on_stream(asked) for key, asked in questions.items()}
        given = self.params.input_responses or {}
        answered = all(_answers(given.get(key), asked) for key, asked in questions.items())
        if not answered or self.params.request_state != state:
            return types.InputRequiredResult(input_requests=dict(questions), request_state=state)
        return {key: given[key] for key in questions}

    async def _ask_on_stream(self, question: Question) -> Any:
        session, request = self.context.session, self.context.request_id
        match question:
            case types.ElicitRequest(params=types.ElicitRequestFormParams() as form):
                return await session.elicit_form(
                    form.message, form.requested_schema, related_request_id=request
                )
            case types.CreateMessageRequest(params=params):
                return await session.create_message(
                    params.messages, max_tokens=params.max_tokens, related_request_id=request
                )
            case _:
                return await session.list_roots()


def _answers(answer: Any, question: Question) -> bool:
    """Whether it is there, and of the kind that was asked for."""
    match question:
        case types.ElicitRequest():
            return isinstance(answer, types.ElicitResult)
        case types.CreateMessageRequest():
            return isinstance(
                answer, types.CreateMessageResult | types.CreateMessageResultWithTools
            )
        case types.ListRootsRequest():
            return isinstance(answer, types.ListRootsResult)
