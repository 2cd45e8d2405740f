"""Webhooks that are signed: what others send here, and how what is sent there is signed.

Bytes and headers in, values out; who a value's sender is in the settings' eyes, and whether it came
before, is for those above to say.
"""
