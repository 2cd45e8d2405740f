"""The launcher: starts a program as a registered workload, in a run of its own."""
