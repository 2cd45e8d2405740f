"""The gateway for MCP: decodes what clients send, asks the guard, answers in their generation."""
