"""fishs2: a text-to-speech server for one's own machine. See docs/architecture.md."""

__version__ = "0.1.0"
