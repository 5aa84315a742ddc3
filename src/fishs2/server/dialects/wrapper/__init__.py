"""The voices of the original wrapper around s2.cpp."""
