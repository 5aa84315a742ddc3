"""Text rules only: normalising, style tags, splitting. No audio, no HTTP, no engine."""
