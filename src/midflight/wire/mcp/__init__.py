"""The Model Context Protocol, both generations: messages to actions and back, headers, shapes.

Modern is 2026-07-28 (stateless, metadata on every request), legacy is 2025-11-25 back to
2025-03-26 (a session opened by `initialize`). Start with `methods.py`, the table of all of it.
"""
