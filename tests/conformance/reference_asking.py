"""The tools of the reference server that ask the client something in the middle of a call."""

from __future__ import annotations

from typing import Any, Final

from mcp import types
from mcp.shared.exceptions import MCPError

from conformance.reference_questions import Question, form, sampling
from conformance.reference_tools import Call, Result, Toolbox, text

TOOLBOX: Final = Toolbox()


def _elicited(answer: Any) -> str:
    content = {} if answer.content is None else answer.content
    return f"action={answer.action}, content={content}"


# Questions, as the legacy scenarios ask for them


@TOOLBOX.offer(
    "test_sampling",
    "Asks the client's model.",
    {"prompt": {"type": "string"}},
    required=("prompt",),
)
async def asking_model(call: Call) -> Result:
    answer = await call.ask("model", sampling(str(call.arguments["prompt"])))
    if isinstance(answer, types.InputRequiredResult):
        return answer
    return text(f"LLM response: {getattr(answer.content, 'text', answer.content)}")


@TOOLBOX.offer(
    "test_elicitation", "Asks the user.", {"message": {"type": "string"}}, required=("message",)
)
async def asking_user(call: Call) -> Result:
    properties = {
        "username": {"type": "string", "description": "User's response"},
        "email": {"type": "string", "description": "User's email address"},
    }
    question = form(str(call.arguments["message"]), properties, "username", "email")
    answer = await call.ask("user", question)
    if isinstance(answer, types.InputRequiredResult):
        return answer
    return text(f"User response: {_elicited(answer)}")


@TOOLBOX.offer("test_elicitation_sep1034_defaults", "Asks the user, with defaults.")
async def asking_defaults(call: Call) -> Result:
    properties = {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {
            "type": "string",
            "enum": ["active", "inactive", "pending"],
            "default": "active",
        },
        "verified": {"type": "boolean", "default": True},
    }
    answer = await call.ask("user", form("Please look at the defaults.", properties))
    if isinstance(answer, types.InputRequiredResult):
        return answer
    return text(f"Elicitation completed: {_elicited(answer)}")


def _titled(prefix: str, *titles: str) -> list[dict[str, str]]:
    return [{"const": f"{prefix}{n}", "title": title} for n, title in enumerate(titles, start=1)]


@TOOLBOX.offer(
    "test_elicitation_sep1330_enums", "Asks the user to choose, in every form of choice."
)
async def asking_choices(call: Call) -> Result:
    options = ["option1", "option2", "option3"]
    properties = {
        "untitledSingle": {"type": "string", "enum": options},
        "titledSingle": {
            "type": "string",
            "oneOf": _titled("value", "First Option", "Second Option", "Third Option"),
        },
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": options}},
        "titledMulti": {
            "type": "array",
            "items": {"anyOf": _titled("value", "First Choice", "Second Choice", "Third Choice")},
        },
    }
    answer = await call.ask("user", form("Please choose.", properties))
    if isinstance(answer, types.InputRequiredResult):
        return answer
    return text(f"Elicitation completed: {_elicited(answer)}")


# Interim results. The SDK's boundary seals `requestState`; tools see what they wrote.

_NAME: Final = {"name": {"type": "string"}}
_OK: Final = {"ok": {"type": "boolean"}}


@TOOLBOX.offer("test_input_required_result_elicitation", "Asks for a name by an interim result.")
async def interim_name(call: Call) -> Result:
    answer = await call.ask("user_name", form("What is your name?", _NAME, "name"))
    if isinstance(answer, types.InputRequiredResult):
        return answer
    return text(f"Hello, {(answer.content or {}).get('name')}!")


@TOOLBOX.offer("test_streaming_elicitation", "Asks by an interim result, with progress before it.")
async def interim_stream(call: Call) -> Result:
    await call.progress(0, 1)
    return await interim_name(call)


@TOOLBOX.offer("test_input_required_result_sampling", "Asks the model by an interim result.")
async def interim_model(call: Call) -> Result:
    answer = await call.ask("capital_question", sampling("What is the capital of France?"))
    if isinstance(answer, types.InputRequiredResult):
        return answer
    return text(f"The model said: {getattr(answer.content, 'text', answer.content)}")


@TOOLBOX.offer("test_input_required_result_list_roots", "Asks for the roots by an interim result.")
async def interim_roots(call: Call) -> Result:
    answer = await call.ask("client_roots", types.ListRootsRequest())
    if isinstance(answer, types.InputRequiredResult):
        return answer
    return text("Roots: " + ", ".join(str(root.uri) for root in answer.roots))


async def _confirmed(call: Call, done: str) -> Result:
    answers = await call.ask_all({"confirm": form("Please confirm", _OK, "ok")}, "to-confirm")
    return answers if isinstance(answers, types.InputRequiredResult) else text(done)


@TOOLBOX.offer("test_input_required_result_request_state", "Carries state from round to round.")
async def interim_state(call: Call) -> Result:
    return await _confirmed(call, "state-ok")


@TOOLBOX.offer("test_input_required_result_tampered_state", "Refuses state that was changed.")
async def interim_tampered(call: Call) -> Result:
    return await _confirmed(call, "The state was whole.")


@TOOLBOX.offer("test_input_required_result_multiple_inputs", "Asks three things at once.")
async def interim_several(call: Call) -> Result:
    questions: dict[str, Question] = {
        "user_name": form("What is your name?", _NAME, "name"),
        "greeting": sampling("Generate a greeting", 50),
        "client_roots": types.ListRootsRequest(),
    }
    answers = await call.ask_all(questions, "three")
    if isinstance(answers, types.InputRequiredResult):
        return answers
    return text("All three were answered.")


@TOOLBOX.offer("test_input_required_result_multi_round", "Asks twice, one after the other.")
async def interim_rounds(call: Call) -> Result:
    first = {"step1": form("Step 1: What is your name?", _NAME, "name")}
    color = {"color": {"type": "string"}}
    second = {"step2": form("Step 2: What is your favorite color?", color, "color")}
    state = call.params.request_state or ""
    if not state.startswith("named "):
        answers = await call.ask_all(first, "first")
        if isinstance(answers, types.InputRequiredResult):
            return answers
        state = f"named {(answers['step1'].content or {}).get('name')}"
    answers = await call.ask_all(second, state)
    if isinstance(answers, types.InputRequiredResult):
        return answers
    return text(f"Both were answered by {state.removeprefix('named ')}.")


@TOOLBOX.offer("test_input_required_result_capabilities", "Asks only what the client can answer.")
async def interim_capable(call: Call) -> Result:
    able = call.capabilities
    questions: dict[str, Question] = {}
    if able.elicitation is not None:
        questions["name"] = form("What is your name?", _NAME, "name")
    if able.sampling is not None:
        questions["model"] = sampling("Say something.")
    if able.roots is not None:
        questions["roots"] = types.ListRootsRequest()
    answers = await call.ask_all(questions)
    if isinstance(answers, types.InputRequiredResult):
        return answers
    return text("Nothing is left to ask.")


@TOOLBOX.offer("test_missing_capability", "Needs a client that has a model.")
async def demanding(call: Call) -> Result:
    if call.capabilities.sampling is None:
        needed = types.MissingRequiredClientCapabilityErrorData(
            required_capabilities=types.ClientCapabilities(sampling=types.SamplingCapability())
        )
        raise MCPError(
            code=types.MISSING_REQUIRED_CLIENT_CAPABILITY,
            message="This tool needs sampling.",
            data=needed.model_dump(by_alias=True, mode="json", exclude_none=True),
        )
    return text("The client has a model.")


__all__ = ["TOOLBOX"]
