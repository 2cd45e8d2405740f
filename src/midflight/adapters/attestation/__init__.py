"""Attestors: what is established about a caller, one file a source."""
