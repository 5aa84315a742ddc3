"""OpenAI's speech API, with the fields of those who extended it."""
