"""Technologies behind ports: one folder a port, one file a technology."""
