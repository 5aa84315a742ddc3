"""What is left out of a text before anybody speaks it."""
