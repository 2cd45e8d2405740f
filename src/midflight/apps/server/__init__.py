"""The HTTP server below every ASGI app of Midflight.

It takes connections, bounds what strangers may cost, refuses what is ambiguous, and says who is on
the other end. It knows nothing of MCP, runs or policy: above it stand the apps (gateway, control
API), below it uvicorn's httptools protocol. Read `head.py`, then `protocol.py`, then `serve.py`.
"""
