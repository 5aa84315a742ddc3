"""Figures and signs in the words of a language."""
