"""What the conventions of OpenTelemetry for MCP and generative AI call the parts of an action.

Source: semantic-conventions, docs/gen-ai/mcp.md (status Development). Used for spans and for log
records, so that both say the same.
"""

from __future__ import annotations


def conventional(
    *, method: str, name: str, upstream: str, workload: str, run: str, error: str
) -> dict[str, str]:
    """Attributes of an MCP action by the conventions; empty ones are left out.

    Args:
        method: such as `tools/call`.
        name: of the tool or prompt; of a resource its address, which is not told here: it can
            hold what nobody but the run should see.
        upstream: whose it is.
        workload: who acts, the `gen_ai.agent.id`.
        run: the `gen_ai.conversation.id`.
        error: code of the refusal or failure; empty for none.
    """
    found = {
        "mcp.method.name": method,
        "gen_ai.agent.id": workload,
        "gen_ai.conversation.id": run,
        "server.address": upstream,
        "error.type": error,
    }
    if method == "tools/call":
        found |= {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name}
    elif method == "prompts/get":
        found["gen_ai.prompt.name"] = name
    return {key: value for key, value in found.items() if value}


def span_name(method: str, name: str) -> str:
    """`{mcp.method.name} {target}`, with a target only where there are few of them."""
    return f"{method} {name}" if method in ("tools/call", "prompts/get") and name else method


__all__ = ["conventional", "span_name"]
