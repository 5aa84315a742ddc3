"""Directions for whoever speaks a text, which are not spoken: pauses, names of speakers, SSML."""
