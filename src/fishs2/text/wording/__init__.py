"""A text in words and plain letters, for an engine that reads only those."""
