"""Bytes to domain values and back: JSON, JSON-RPC, both generations of MCP, HTTP, tokens.

Pure and total: every byte string decodes to a value or raises `Malformed`. Stands beside
`services`; imports only `domain`.
"""
