"""Adapters of the authority port."""
