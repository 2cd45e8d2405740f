"""Where exported events go: files, syslog, OpenTelemetry. The port: `services/ports/export.py`."""
