"""The gateway for MCP: decodes what clients send, asks the guard, and answers in their generation."""
