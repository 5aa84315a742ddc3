"""XTTS API servers and AllTalk: what SillyTavern and its kin call."""
