"""Adapters that carry security events: pushes to receivers, polls of transmitters."""
