"""The bytes of OAuth: forms, assertions, redirects, documents and pages. No state, no clock.

Above stand `services/authorization*.py` (what is granted) and `apps/oauth` (what is served).
"""
