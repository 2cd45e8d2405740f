"""Channels that tell people: one file a format. `services/ports/notify.py` says what they do."""
