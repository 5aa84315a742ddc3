"""Keys and what they spend."""
