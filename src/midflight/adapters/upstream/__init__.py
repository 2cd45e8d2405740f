"""Adapters of the upstream port."""
