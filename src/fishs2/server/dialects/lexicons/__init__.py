"""Lexicons over HTTP: our own."""
