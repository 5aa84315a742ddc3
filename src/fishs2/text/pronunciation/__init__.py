"""How words are said that an engine would say otherwise."""
