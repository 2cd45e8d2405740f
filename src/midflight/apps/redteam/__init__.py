"""Red team: recorded runs are replayed through the real guard, and what happened is counted."""
