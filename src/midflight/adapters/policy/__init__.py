"""Adapters of the policy port."""
