"""What fish-speech's own server has and the cloud lacks."""
