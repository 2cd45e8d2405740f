"""Benchmarks: measured, printed and written down, never asserted in tests.

`python -m bench decide|gateway|interrupt|ledger [--json FILE]` from the repository's root.
"""
