"""Adapters of the keys port."""
