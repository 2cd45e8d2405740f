"""Detectors: each one file, events in, sightings out. Above: `services/detection.py`."""
