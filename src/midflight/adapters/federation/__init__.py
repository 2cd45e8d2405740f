"""Adapters that fetch the bundles of other trust domains."""
