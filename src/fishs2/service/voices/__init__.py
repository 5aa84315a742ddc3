"""Voices: what may be stored, and whose voice a request is spoken in."""
