"""Keys and usage, in SQL."""
