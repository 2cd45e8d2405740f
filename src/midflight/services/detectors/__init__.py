"""Detectors, one file each: events in, sightings out. Above: `services/detection.py`."""
