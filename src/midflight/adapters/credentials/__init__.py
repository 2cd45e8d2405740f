"""Sources of credentials: one file a technology, the in-memory one first."""
