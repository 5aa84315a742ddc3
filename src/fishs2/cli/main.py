"""The `fishs2` command."""

import sys

import typer

from fishs2 import __version__
from fishs2.cli import keys, s2, voices
from fishs2.cli.bench import bench
from fishs2.cli.doctor import doctor
from fishs2.cli.fetch import fetch
from fishs2.cli.say import say
from fishs2.cli.serve import serve
from fishs2.errors import Fishs2Error

app = typer.Typer(
    name="fishs2",
    help="Turn text into speech on this machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(serve)
app.command()(say)
app.command()(doctor)
app.command()(fetch)
app.command()(bench)
app.add_typer(voices.app, name="voices")
app.add_typer(keys.app, name="keys")
app.add_typer(s2.app, name="s2")


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"fishs2 {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Show the version."
    ),
) -> None:
    pass


def main() -> None:
    """Run the command line. Exit status: 0 done, 1 failed, 2 wrong usage."""
    try:
        app()
    except Fishs2Error as error:
        print(f"fishs2: {error.message}", file=sys.stderr)
        sys.exit(1)
