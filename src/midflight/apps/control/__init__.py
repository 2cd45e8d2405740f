"""The control API: where operators open, pin, revoke, lift and reload, and how they are known."""
