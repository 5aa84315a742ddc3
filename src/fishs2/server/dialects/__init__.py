"""One folder for each API that clients speak to this server."""
