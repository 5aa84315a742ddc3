"""From a text to utterances."""
