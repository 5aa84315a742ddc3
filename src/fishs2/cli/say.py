"""`fishs2 say`: speak a text into a file, without a server."""

import asyncio
import os
import shutil
import sys
from contextlib import aclosing, suppress
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fishs2.audio.effects import Effects
from fishs2.audio.formats import FORMATS
from fishs2.cli.planning import read_settings
from fishs2.errors import FlagError, UserError
from fishs2.runtime import open_here
from fishs2.service.accounts.accounts import Principal
from fishs2.service.services import Services
from fishs2.service.speech.preview import preview
from fishs2.service.speech.request import SpeechRequest
from fishs2.service.speech.service import Spoken
from fishs2.service.speech.timing.captions import make_captions, write_captions
from fishs2.service.speech.timing.units import CaptionFormat
from fishs2.store.spool import Spool
from fishs2.text.directing.ssml import TextType

_STANDARD_OUTPUT = Path("-")
_PROGRESS_AFTER_S = 1.0
_PROGRESS_EVERY_S = 0.1

Text = Annotated[str, typer.Argument(help="The text to speak; - reads it from standard input.")]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Where the speech goes; - is standard output."),
]
Format = Annotated[
    str | None,
    typer.Option("--format", help="Audio format; default: the suffix of the file, else wav."),
]
Voice = Annotated[str, typer.Option(help="A voice name, for example de or en-gb.")]
Speed = Annotated[float, typer.Option(min=0.25, max=4.0, help="Pace; the pitch stays.")]
Cleaning = Annotated[
    str | None,
    typer.Option(help="off, minimal, markdown or full: what is taken out (FISHS2_TEXT_CLEANING)."),
]
Type = Annotated[str, typer.Option(help="text, or ssml: TEXT is an SSML document.")]
ShowsPreview = Annotated[
    bool,
    typer.Option("--preview", help="Print as JSON what would be spoken, and speak nothing."),
]
Captions = Annotated[
    Path | None,
    typer.Option(help="Write captions too: a file that ends in .srt, .vtt or .json."),
]
Engine = Annotated[str | None, typer.Option(help="auto, builtin, s2 or s2cpp (FISHS2_ENGINE).")]


def say(
    text: Text,
    output: Output = None,
    format: Format = None,
    voice: Voice = "",
    speed: Speed = 1.0,
    text_cleaning: Cleaning = None,
    text_type: Type = "text",
    shows_preview: ShowsPreview = False,
    captions: Captions = None,
    engine: Engine = None,
) -> None:
    """Speak TEXT into a file."""
    if output is None and not shows_preview:
        raise FlagError("name the file that the speech goes to: --output hello.mp3")
    output = output or _STANDARD_OUTPUT
    services = open_here(read_settings(engine=engine, text_cleaning=text_cleaning))
    request = SpeechRequest(
        dialect="cli",
        request_id="say",
        text=sys.stdin.read() if text == "-" else text,
        text_type=_type_of(text_type),
        voice=voice,
        format=_format_of(output) if format is None else _known(format, f"--format {format}"),
        effects=Effects(speed=speed),
        captions=None if captions is None else _captions_of(captions),
    )
    asyncio.run(_say(services, request, None if shows_preview else output, captions))


async def _say(
    services: Services, request: SpeechRequest, output: Path | None, captions: Path | None
) -> None:
    services.start()
    try:
        script = await services.desk.write(request)
        if output is None:
            typer.echo(preview(script).model_dump_json(indent=2))
            return
        async with services.desk.speak(Principal(), script) as spoken:
            if output == _STANDARD_OUTPUT:
                await _write_standard_output(spoken)
            else:
                await _write_file(spoken, output)
            if captions is not None:
                await _write_captions(spoken, captions)
    finally:
        await services.close()


async def _write_captions(spoken: Spoken, path: Path) -> None:
    times, kind = spoken.times, spoken.script.plan.request.captions
    assert times is not None
    assert kind is not None
    await times.finish()
    content = write_captions(make_captions(times.sentences, times.words), kind)
    with SpooledTemporaryFile() as file:
        file.write(content.encode())
        await asyncio.to_thread(replace_file, path, file)
    typer.echo(f"wrote {path}: times are {times.kind}", err=True)


async def _write_standard_output(spoken: Spoken) -> None:
    async with aclosing(spoken.stream()) as pieces:
        async for piece in pieces:
            await asyncio.to_thread(sys.stdout.buffer.write, piece)
    await asyncio.to_thread(sys.stdout.buffer.flush)


async def _write_file(spoken: Spoken, output: Path) -> None:
    progress = asyncio.create_task(_show_progress(spoken))
    try:
        async with spoken.render() as sound:
            await asyncio.to_thread(replace_file, output, sound.spool)
            num_bytes = sound.num_bytes
    finally:
        progress.cancel()
        await asyncio.wait([progress])
    typer.echo(
        f"wrote {output}: {spoken.report.audio_s:.1f} s, {num_bytes / 1000:,.0f} kB of "
        f"{spoken.report.request.format}"
    )


def replace_file(path: Path, content: Spool | IO[bytes]) -> None:
    """Write a file that is either whole or not there. Raises UserError."""
    content.seek(0)
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with draft.open("wb") as file:
            shutil.copyfileobj(content, file)
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise UserError(f"cannot write {path}: {error.strerror}", code="cannot_write") from error


async def _show_progress(spoken: Spoken) -> None:
    """Draw a bar on the terminal, if there is one, once the speech takes longer than a second."""
    console = Console(stderr=True)
    if not console.is_terminal:
        return
    await asyncio.sleep(_PROGRESS_AFTER_S)
    columns = (
        TextColumn("speaking"),
        BarColumn(),
        TextColumn("{task.fields[audio_s]:.0f} s of audio"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        report = spoken.report
        task = bar.add_task("", total=spoken.script.num_utterances, audio_s=0.0)
        while True:
            bar.update(task, completed=report.num_spoken, audio_s=report.audio_s)
            await asyncio.sleep(_PROGRESS_EVERY_S)


def _type_of(given: str) -> TextType:
    match given:
        case "text" | "ssml":
            return given
        case _:
            raise FlagError(f"--text-type {given} is not known; use text or ssml")


def _format_of(output: Path) -> str:
    """The format that the suffix names. Raises UserError for one that none has."""
    if output == _STANDARD_OUTPUT or not output.suffix:
        return "wav"
    return _known(output.suffix, f"the suffix {output.suffix}")


def _captions_of(path: Path) -> CaptionFormat:
    """The kind of captions that the suffix names. Raises FlagError."""
    kinds: dict[str, CaptionFormat] = {".srt": "srt", ".vtt": "vtt", ".json": "json"}
    if path.suffix.lower() not in kinds:
        raise FlagError(f"--captions {path}: end the name in .srt, .vtt or .json")
    return kinds[path.suffix.lower()]


def _known(given: str, what: str) -> str:
    """A format by its name or suffix. Raises FlagError."""
    name = {"ogg": "opus"}.get(plain := given.lower().removeprefix("."), plain)
    if name not in FORMATS:
        raise FlagError(
            f"{what} names no audio format; use {', '.join(FORMATS)}, as --format or as suffix"
        )
    return name
