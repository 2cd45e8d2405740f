"""Documents of others, over the network: see `services/ports/documents.py`."""
