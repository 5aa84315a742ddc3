"""`fishs2 words`: lexicons, without a server."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from fishs2.cli.planning import read_settings
from fishs2.errors import FlagError, UserError
from fishs2.runtime import open_lexicons
from fishs2.service.lexicons import DEFAULT_LEXICON, Lexicons
from fishs2.store.lexicons import MAX_FILE_BYTES
from fishs2.text.pronunciation.formats import (
    read_csv,
    read_json,
    read_pls,
    write_csv,
    write_json,
    write_pls,
)
from fishs2.text.pronunciation.reading import Reading
from fishs2.text.pronunciation.words import Case, Word
from fishs2.text.sourced import Sourced

app = typer.Typer(
    help="Lexicons: how words are said; add, test, import, export.", no_args_is_help=True
)

LexiconName = Annotated[str, typer.Option("--lexicon", "-l", help="Name of the lexicon.")]
Language = Annotated[str, typer.Option(help="Only in speech of this language, for example de.")]

_READERS = {".json": read_json, ".csv": read_csv, ".tsv": read_csv, ".pls": read_pls,
            ".xml": read_pls}  # fmt: skip

_T = TypeVar("_T")


@app.command()
def add(
    word: Annotated[str, typer.Argument(help="As it is written; with --regex an expression.")],
    say: Annotated[str | None, typer.Option(help="Its respelling.")] = None,
    ipa: Annotated[str | None, typer.Option(help="Its sounds, for builtin.")] = None,
    lexicon: LexiconName = DEFAULT_LEXICON,
    language: Language = "",
    case: Annotated[str, typer.Option(help="any or exact.")] = "any",
    is_regex: Annotated[bool, typer.Option("--regex", help="WORD is in RE2's syntax.")] = False,
) -> None:
    """Add a word to a lexicon, or say it otherwise from now on."""
    new = Word(
        word=None if is_regex else word,
        regex=word if is_regex else None,
        say=say,
        ipa=ipa,
        language=language or None,
        case=_case(case),
    )
    name = _run(lambda lexicons: lexicons.add(lexicon, [new]))
    typer.echo(f"{name}: {_describe(new)}")


@app.command("list")
def list_words(
    lexicon: Annotated[str | None, typer.Argument(help="Default: the names of all.")] = None,
) -> None:
    """List the lexicons, or the words of one."""

    async def names(lexicons: Lexicons) -> list[str]:
        return [f"{each}  {await lexicons.count(each)} words" for each in await lexicons.list()]

    if lexicon is None:
        lines = _run(names) or ["there are no lexicons; `fishs2 words add` makes one"]
    else:
        _, words = _run(lambda lexicons: lexicons.words(lexicon))
        lines = [_describe(word) for word in words]
    typer.echo("\n".join(lines))


@app.command("test")
def try_words(
    text: Annotated[str, typer.Argument(help="What is to be read.")],
    lexicon: Annotated[
        list[str] | None, typer.Option("--lexicon", "-l", help="Beside the default; repeatable.")
    ] = None,
    voice: Annotated[str, typer.Option(help="Its lexicon acts too.")] = "",
    language: Annotated[str, typer.Option(help="Language of the speech.")] = "",
) -> None:
    """Show what lexicons make of a text; IPA stands between slashes."""
    chosen = _run(lambda lexicons: lexicons.choose(lexicon or [], voice=voice))
    reading = Reading(chosen, language, as_sounds=lambda ipa: f"/{ipa}/")
    typer.echo(reading.read(Sourced.of(text)).text)


@app.command("import")
def import_words(
    file: Annotated[Path, typer.Argument(help=".pls, .csv or .json.")],
    lexicon: LexiconName = DEFAULT_LEXICON,
) -> None:
    """Add the words of a file to a lexicon."""
    read = _READERS.get(file.suffix.lower())
    if read is None:
        raise FlagError(f"the suffix {file.suffix or '(none)'} is no lexicon's; use .pls, .csv or "
                        ".json")  # fmt: skip
    with file.open("rb") as opened:
        content = opened.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise UserError(
            f"{file} has more than {MAX_FILE_BYTES:,} bytes, which is the limit",
            code="invalid_lexicon",
        )
    words = read(content)
    name = _run(lambda lexicons: lexicons.add(lexicon, words))
    typer.echo(f"{name}: {len(words)} words from {file}")


@app.command("export")
def export_words(
    output: Annotated[Path, typer.Argument(help=".pls, .csv or .json; - is JSON on the terminal.")],
    lexicon: LexiconName = DEFAULT_LEXICON,
    language: Annotated[str, typer.Option(help="Of a .pls, which has one.")] = "en",
) -> None:
    """Write the words of a lexicon to a file."""
    _, words = _run(lambda lexicons: lexicons.words(lexicon))
    match output.suffix.lower():
        case ".csv":
            content = write_csv(words)
        case ".pls" | ".xml":
            content = write_pls(words, language=language)
        case ".json" | "":
            content = write_json(words)
        case suffix:
            raise FlagError(f"the suffix {suffix} is no lexicon's; use .pls, .csv or .json")
    if output == Path("-"):
        sys.stdout.write(content.decode())
        return
    output.write_bytes(content)
    typer.echo(f"wrote {output}")


def _run(work: Callable[[Lexicons], Awaitable[_T]]) -> _T:
    async def run() -> _T:
        lexicons = open_lexicons(read_settings())
        try:
            return await work(lexicons)
        finally:
            lexicons.close()

    return asyncio.run(run())


def _describe(word: Word) -> str:
    said = [f"say {word.say!r}"] if word.say is not None else []
    said += [f"ipa /{word.ipa}/"] if word.ipa is not None else []
    said += [word.language] if word.language is not None else []
    said += ["exact case"] if word.case == "exact" else []
    return f"{word.word or f'regex {word.regex}'}  {', '.join(said)}"


def _case(given: str) -> Case:
    if given not in ("any", "exact"):
        raise FlagError(f"--case {given}: use any or exact")
    return "exact" if given == "exact" else "any"
