"""Adapters of the telemetry port."""
