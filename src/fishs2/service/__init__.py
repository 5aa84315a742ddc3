"""The use cases. Knows engines, text and audio; knows no dialect and no HTTP."""
