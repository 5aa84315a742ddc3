"""Requests become steps: what waits, what runs, what is heard."""
