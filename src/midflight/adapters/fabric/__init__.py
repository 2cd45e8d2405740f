"""Adapters of the fabric port."""
