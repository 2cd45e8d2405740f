"""What services need from the world, each a small Protocol named for its role.

For every port there is an in-memory adapter and one contract suite in `tests/contracts` that runs
over all its adapters.
"""
