"""Records in the forms that collectors of security events read: OCSF, CEF, OpenTelemetry, syslog.

A record becomes one `Told` first (`telling.py`), which holds nothing sealed; each form is made of
that. Nothing here does I/O. Above: `services/export.py`.
"""
