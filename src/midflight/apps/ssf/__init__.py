"""Shared signals over HTTP: streams for receivers of our events, and a door for others' events."""
