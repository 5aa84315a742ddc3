"""The fishaudio.net open API."""
