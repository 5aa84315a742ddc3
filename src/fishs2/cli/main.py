"""The `fishs2` command. A command is imported once it runs: most of them load the whole server."""

import sys
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group_from_info
from typer.models import TyperInfo

from fishs2 import __version__
from fishs2.errors import Fishs2Error, FlagError, UserError

_INTERRUPTED = 130
"""Exit status after Ctrl-C. Source: what shells give a program that SIGINT ended."""

_WRONG_USAGE = frozenset({"invalid_option", "unsupported_format"})
"""Codes of errors that stand for the value of an option."""


class _Place(NamedTuple):
    """Where a command is. help: its first line."""

    module: str
    name: str
    help: str


_COMMANDS = {
    "serve": _Place("serve", "serve", "Start the server and keep it running until Ctrl-C."),
    "say": _Place("say", "say", "Speak TEXT into a file."),
    "doctor": _Place("doctor", "doctor", "Check this machine."),
    "fetch": _Place(
        "fetch", "fetch", "Download the model, its tokenizer and, for s2cpp, the library."
    ),
    "bench": _Place(
        "bench", "bench", "Measure a server: one stream, many clients, long texts, voices."
    ),
    "voices": _Place("voices", "app", "Stored voices: add, list, move between machines."),
    "words": _Place("words", "app", "Lexicons: how words are said; add, test, import, export."),
    "keys": _Place("keys", "app", "Keys, quotas and their use."),
    "mcp": _Place("mcp", "mcp", "Serve an assistant by the Model Context Protocol."),
    "s2": _Place("s2", "app", "Look into S2 Pro models and run their parts."),
}


class _Commands(TyperGroup):
    """The commands as a list of names and first lines; one that is called is imported."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, place in _COMMANDS.items():
            self.commands[name] = TyperCommand(name, help=place.help)

    # typer gives the context of its base class no public name.
    def resolve_command(  # type: ignore[override]
        self, ctx: typer.Context, args: list[str]
    ) -> tuple[str | None, TyperCommand | TyperGroup | None, list[str]]:
        name, found, rest = super().resolve_command(ctx, args)
        return name, _import_command(_COMMANDS[name]) if name and found else None, rest


def _import_command(place: _Place) -> TyperCommand | TyperGroup:
    found = getattr(import_module(f"fishs2.cli.{place.module}"), place.name)
    parent = typer.Typer()
    if isinstance(found, typer.Typer):
        parent.add_typer(found, name=place.name)
    else:
        parent.command(place.name)(found)
    group = get_group_from_info(
        TyperInfo(parent),
        pretty_exceptions_short=True,
        rich_markup_mode=None,
        suggest_commands=True,
    )
    (command,) = group.commands.values()
    assert isinstance(command, (TyperCommand, TyperGroup))
    return command


app = typer.Typer(
    name="fishs2",
    cls=_Commands,
    help="Turn text into speech on this machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


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
        is_usage = isinstance(error, FlagError) or (
            isinstance(error, UserError) and error.code in _WRONG_USAGE
        )
        _end(error.message, 2 if is_usage else 1)
    except OSError as error:
        # Folders and files of the user's: what is wrong with them is no fault of the program.
        where = f"{error.filename}: " if error.filename else ""
        _end(f"{where}{error.strerror or error}", 1)
    except KeyboardInterrupt:
        _end("stopped", _INTERRUPTED)


def _end(message: str, status: int) -> None:
    print(f"fishs2: {message}", file=sys.stderr)
    sys.exit(status)
