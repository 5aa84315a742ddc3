"""The API of Fish Audio's cloud."""
