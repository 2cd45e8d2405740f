"""Alembic's scripts: one step a file in `versions`, never changed once released."""
