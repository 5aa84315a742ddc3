"""When what was written is heard: words and sentences, in the caller's characters."""
