"""What people start: gateway, control API, command line. `compose.py` wires everything."""
