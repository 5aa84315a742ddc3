"""`python -m fishs2` is the `fishs2` command."""

from fishs2.cli.main import main

main()
