"""`fishs2 voices`: the stored voices, without a server."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from fishs2.audio.decode import decode_audio
from fishs2.cli.planning import read_settings
from fishs2.errors import NotFoundError, UserError
from fishs2.listening.whisper import INSTALL
from fishs2.runtime import open_listening, open_store, open_voices
from fishs2.service.voices.doctor import CheckUp
from fishs2.service.voices.library import Voices
from fishs2.settings import Settings
from fishs2.store.voices.archive import MAX_ARCHIVE_BYTES, pack_voice, unpack_voice
from fishs2.store.voices.changes import NewSample, NewVoice, VoiceChanges
from fishs2.store.voices.files import Voice, find_transcript, read_bytes

app = typer.Typer(help="Stored voices: add, list, move between machines.", no_args_is_help=True)

VoiceId = Annotated[str, typer.Argument(metavar="ID", help="As `fishs2 voices list` shows it.")]
Files = Annotated[list[Path], typer.Argument(help="Audio; the first is the reference.")]
NewId = Annotated[str | None, typer.Option("--id", help="Id; default: from the name or file.")]
Name = Annotated[str | None, typer.Option(help="A name for people.")]
Transcript = Annotated[
    str | None,
    typer.Option(help="What is said in the first file; default: the .txt or .lab beside it."),
]
Language = Annotated[str | None, typer.Option(help="BCP 47 tag, for example de.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Default: ID.zip.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

_T = TypeVar("_T")


@app.command()
def add(
    files: Files,
    voice_id: NewId = None,
    name: Name = None,
    transcript: Transcript = None,
    language: Language = None,
) -> None:
    """Store a voice from audio files; one of this id or name is replaced."""
    settings = read_settings()
    samples = tuple(NewSample(path.name, _read(path, settings.max_upload_bytes)) for path in files)
    new = NewVoice(
        samples,
        voice_id=voice_id,
        name=name,
        transcript=transcript or _find_transcript(files[0]),
        language=language,
    )
    voice = _run(settings, lambda voices: voices.add(new))
    typer.echo(f"stored {voice.voice_id}")
    if voice.transcript is None:
        typer.echo(
            "it has no transcript, without which s2 cannot clone it: add --transcript, or have it "
            f"heard ({INSTALL}, then fishs2 fetch --asr base)"
        )
    elif voice.is_heard:
        typer.echo(
            f"heard in it: {voice.transcript}\n"
            f"correct it with: fishs2 voices transcript {voice.voice_id} TEXT"
        )


@app.command("list")
def list_voices() -> None:
    """List the stored voices."""
    settings = read_settings()
    found = _run(settings, lambda voices: voices.list())
    if not found:
        typer.echo(f"no voices are stored in {settings.voices_dir}; `fishs2 voices add` stores one")
    width = max((len(voice.voice_id) for voice in found), default=0)
    for voice in found:
        text = voice.transcript or "(no transcript)"
        text = f"(heard) {text}" if voice.is_heard else text
        short = text if len(text) <= 60 else f"{text[:57]}..."
        typer.echo(f"{voice.voice_id:<{width}}  {_count_files(voice):<8}  {short}")


def _count_files(voice: Voice) -> str:
    return "1 file" if len(voice.samples) == 1 else f"{len(voice.samples)} files"


@app.command()
def show(voice_id: VoiceId) -> None:
    """Show everything about one voice."""
    settings = read_settings()
    voice = _find(settings, voice_id)
    created = datetime.fromtimestamp(voice.created, UTC)
    lines = {
        "id": voice.voice_id,
        "name": voice.name,
        "created": f"{created:%Y-%m-%d %H:%M} UTC",
        "language": voice.language or "",
        "model": voice.model or "",
        "transcript": voice.transcript or "(none)",
        "source": voice.transcript_source or "",
    }
    for key, value in lines.items():
        typer.echo(f"{key:<10}  {value}")
    for sample in voice.samples:
        path = open_store(settings).sample_path(voice, sample)
        audio = decode_audio(_read(path, settings.max_upload_bytes), max_seconds=3600)
        seconds = len(audio.pcm) / audio.sample_rate_hz
        typer.echo(f"{'file':<10}  {sample.filename}  {seconds:.1f} s, {audio.sample_rate_hz} Hz")


@app.command()
def check(
    names: Annotated[list[str], typer.Argument(metavar="ID|FILE...", help="Voices or files.")],
    transcript: Transcript = None,
) -> None:
    """Say whether voices, or audio files, will do as references for cloning."""
    settings = read_settings()
    is_bad = False
    for name in names:
        found = _examine(settings, name, transcript)
        if len(names) > 1:
            typer.echo(f"{name}:")
        for finding in found.findings:
            typer.echo(f"{finding.grade:<4}  {finding.name:<10}  {finding.text}")
            is_bad |= finding.grade == "poor"
        if found.heard:
            typer.echo(f"heard: {found.heard}")
    if is_bad:
        raise typer.Exit(1)


def _examine(settings: Settings, name: str, transcript: str | None) -> CheckUp:
    path = Path(name)
    if path.is_file():
        audio = _read(path, settings.max_upload_bytes)
        text = transcript or _find_transcript(path)
        return _run(settings, lambda voices: voices.doctor.examine(audio, transcript=text))
    voice = _find(settings, name)
    text = transcript or voice.transcript

    async def work(voices: Voices) -> CheckUp:
        audio = await voices.read_recording(voice)
        return await voices.doctor.examine(audio, transcript=text, language=voice.language)

    return _run(settings, work)


@app.command("transcript")
def set_transcript(
    voice_id: VoiceId,
    text: Annotated[str, typer.Argument(help="What is said in the first file.")],
) -> None:
    """Set the transcript of a voice, such as one that was heard wrongly."""
    settings = read_settings()
    voice = _find(settings, voice_id)
    changes = VoiceChanges(transcripts=(text.strip(),))
    _run(settings, lambda voices: voices.update(voice.voice_id, changes))
    typer.echo(f"changed {voice.voice_id}")


@app.command()
def remove(voice_id: VoiceId, yes: Yes = False) -> None:
    """Delete a voice and its audio."""
    settings = read_settings()
    voice = _find(settings, voice_id)
    if not yes:
        typer.confirm(f"Delete {voice.voice_id} and its {_count_files(voice)}?", abort=True)
    _run(settings, lambda voices: voices.remove(voice.voice_id))
    typer.echo(f"deleted {voice.voice_id}")


@app.command("export")
def export_voice(voice_id: VoiceId, output: Output = None) -> None:
    """Write a voice to a .zip file that `import` takes on any machine."""
    settings = read_settings()
    voice = _find(settings, voice_id)
    store = open_store(settings)
    contents = [
        _read(store.sample_path(voice, sample), settings.max_upload_bytes)
        for sample in voice.samples
    ]
    path = output or Path(f"{voice.voice_id}.zip")
    try:
        path.write_bytes(pack_voice(voice, contents))
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}", code="cannot_write") from error
    typer.echo(f"wrote {path}")


@app.command("import")
def import_voice(
    file: Annotated[Path, typer.Argument(help="What `export` wrote.")], voice_id: NewId = None
) -> None:
    """Store a voice from a .zip file; refused if anything in it was changed."""
    settings = read_settings()
    new = unpack_voice(_read(file, MAX_ARCHIVE_BYTES))
    if voice_id is not None:
        # As a name, too: that of the archive may be taken here by the voice that it was made of.
        new = replace(new, voice_id=voice_id, name=None)
    voice = _run(settings, lambda voices: voices.add(new))
    typer.echo(f"stored {voice.voice_id}")


def _run(settings: Settings, work: Callable[[Voices], Awaitable[_T]]) -> _T:
    folder = settings.voices_dir
    if folder.exists() and not folder.is_dir():
        raise UserError(
            f"{folder} is no folder, so no voices can be stored in it; move that file away, or "
            "name another folder with FISHS2_VOICES_DIR",
            code="cannot_read",
        )

    async def run() -> _T:
        listening = open_listening(settings)
        voices = open_voices(settings, listening)
        try:
            return await work(voices)
        finally:
            await voices.close()
            await listening.close()

    return asyncio.run(run())


def _find(settings: Settings, voice_id: str) -> Voice:
    voice = _run(settings, lambda voices: voices.find(voice_id))
    if voice is None:
        raise NotFoundError(
            f"there is no voice {voice_id}; `fishs2 voices list` shows what there is"
            f"{_run(settings, lambda voices: voices.suggest(voice_id))}",
            code="voice_not_found",
        )
    return voice


def _read(path: Path, max_bytes: int) -> bytes:
    try:
        return read_bytes(path.resolve(), max_bytes)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", code="cannot_read") from error
    except ValueError as error:
        raise UserError(f"cannot read {path}: {error}", code="cannot_read") from error


def _find_transcript(path: Path) -> str | None:
    try:
        return find_transcript(path.resolve(), lambda message: typer.echo(message, err=True))
    except OSError as error:
        reason = error.strerror
        raise UserError(
            f"cannot read the transcript beside {path}: {reason}", code="cannot_read"
        ) from error
