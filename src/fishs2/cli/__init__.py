"""The command line: each module is one sub-command, `main` puts them together."""
