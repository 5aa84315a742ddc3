"""Stored voices: a folder each."""
