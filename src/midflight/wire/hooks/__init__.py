"""Webhooks that a service signs in a way of its own; those of the standard are `wire/webhook.py`.

Bytes and headers in, values out; who a value's sender is in the settings' eyes, and whether it came
before, is for those above to say.
"""
