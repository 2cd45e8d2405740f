"""Backends of credentials, a technology a file. Port: `services/ports/credential_backend.py`."""
