"""`fishs2 s2 …`: look into S2 Pro models and run their parts without a server."""

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from fishs2.advice import get_s2
from fishs2.audio.decode import decode_audio
from fishs2.engines.base import Pcm, Reference
from fishs2.engines.s2.weights.inspection import inspect_gguf
from fishs2.errors import EngineUnavailableError, FlagError, UserError
from fishs2.settings_groups.engines import ModelSettings

if TYPE_CHECKING:
    from fishs2.engines.s2.device.model import ModelFiles
    from fishs2.engines.s2.model.prompt import EncodedReference

app = typer.Typer(
    name="s2",
    help="Look into S2 Pro models and run their parts.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

_MAX_REFERENCE_S = 90.0
_GB = 1e9
_DEFAULTS = ModelSettings.model_construct()

ModelPath = Annotated[Path, typer.Option("--model", help="GGUF file or official folder.")]
Tokenizer = Annotated[
    Path | None, typer.Option(help="tokenizer.json; default: the one beside the model.")
]
CodecConfig = Annotated[
    Path | None,
    typer.Option(help="Sizes of a codec that is not S2 Pro's; default: codec.json by the model."),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps: as PyTorch names it.")]
Dtype = Annotated[Literal["f32", "f16", "bf16"], typer.Option(help="Number type of the model.")]
WeightsMode = Annotated[
    Literal["dense", "packed"],
    typer.Option("--weights", help="packed keeps quantised weights small in memory."),
]


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="GGUF file or official folder.")],
    codec_config: CodecConfig = None,
) -> None:
    """Show metadata, tensor types and sizes of FILE, and the memory it needs."""
    if file.is_dir() or file.suffix == ".safetensors":
        report = _commands().inspect_model(_files(file, None, codec_config))
    else:
        report = inspect_gguf(file, codec_config)
    for key, value in report.metadata.items():
        typer.echo(f"{key} = {value}")
    typer.echo(f"\n{'part':<14} {'tensors':>7} {'parameters':>14} {'MB':>9}  types")
    for part in report.parts:
        types = ", ".join(f"{count} {kind}" for kind, count in part.types.items())
        megabytes = part.num_bytes / 1e6
        typer.echo(
            f"{part.name:<14} {part.num_tensors:>7} {part.num_params:>14,} {megabytes:>9,.1f}  "
            f"{types}"
        )
    typer.echo("\nweights in memory:")
    for mode, num_bytes in report.memory_bytes.items():
        typer.echo(f"  {mode:<12} {num_bytes / _GB:.2f} GB")
    typer.echo(f"  and {report.kv_bytes / 1e3:.1f} kB per token of context, in 16 bits")


@app.command()
def generate(  # a flag of the command is a parameter here; typer knows no other form
    model: ModelPath,
    text: Annotated[str, typer.Option(help="The text to speak.")],
    tokenizer: Tokenizer = None,
    codec_config: CodecConfig = None,
    reference: Annotated[
        list[Path] | None, typer.Option(help="Audio, or codes (.npy), of a voice; repeatable.")
    ] = None,
    reference_text: Annotated[
        list[str] | None, typer.Option(help="What a reference says; once for each.")
    ] = None,
    temperature: Annotated[
        float, typer.Option(help="0 takes the best token always.")
    ] = _DEFAULTS.temperature,
    top_p: Annotated[
        float, typer.Option(help="Share of the likeliest tokens to draw from.")
    ] = _DEFAULTS.top_p,
    top_k: Annotated[
        int, typer.Option(help="How many of the likeliest tokens to draw from; 0: all.")
    ] = _DEFAULTS.top_k,
    seed: Annotated[int, typer.Option(help="The same seed gives the same speech.")] = 0,
    max_new_tokens: Annotated[
        int, typer.Option(help="Frames at most; 0: no limit.")
    ] = _DEFAULTS.max_new_tokens,
    min_tokens_before_end: Annotated[
        int, typer.Option(help="Frames at least.")
    ] = _DEFAULTS.min_tokens_before_end,
    device: Device = "cpu",
    dtype: Dtype = "f32",
    weights: WeightsMode = "dense",
    codes: Annotated[Path | None, typer.Option(help="Write int32 [10, T] here (.npy).")] = None,
    wav: Annotated[Path | None, typer.Option(help="Write the sound here.")] = None,
) -> None:
    """Speak TEXT with a model, into codes and sound."""
    if codes is None and wav is None:
        raise FlagError("nothing to write: give --codes, --wav or both")
    references = _read_references(reference or [], reference_text or [])
    commands, files = _commands(), _files(model, tokenizer, codec_config)
    params = commands.GenerateParams(
        temperature, top_p, top_k, seed, max_new_tokens, min_tokens_before_end
    )
    with _progress(_num_bytes(model)) as advance:
        spoken = commands.generate(
            files,
            commands.Precision(device, commands.DTYPES[dtype], weights),
            text,
            references=references,
            params=params,
            on_progress=advance,
        )
    if codes is not None:
        np.save(codes, spoken.codes)
    if wav is not None:
        _write_wav(wav, spoken.pcm, spoken.sample_rate_hz)
    typer.echo(f"{spoken.codes.shape[1]} frames, {len(spoken.pcm) / spoken.sample_rate_hz:.2f} s")


@app.command()
def encode(
    audio: Annotated[Path, typer.Argument(help="A recording.")],
    model: ModelPath,
    output: Annotated[Path, typer.Option("--output", "-o", help="Codes, int32 [10, T] (.npy).")],
    codec_config: CodecConfig = None,
    device: Device = "cpu",
) -> None:
    """Turn AUDIO into codes."""
    commands, files = _commands(), _files(model, None, codec_config)
    codes = commands.encode(files, _read_audio(audio, transcript=""), device=device)
    np.save(output, codes)
    typer.echo(f"{codes.shape[1]} frames")


@app.command()
def decode(
    codes: Annotated[Path, typer.Argument(help="Codes, integers [10, T] (.npy).")],
    model: ModelPath,
    output: Annotated[Path, typer.Option("--output", "-o", help="The sound (.wav).")],
    codec_config: CodecConfig = None,
    stream: Annotated[int, typer.Option(min=1, help="Frames decoded at a time.")] = 32,
    device: Device = "cpu",
) -> None:
    """Turn CODES into sound."""
    commands, files = _commands(), _files(model, None, codec_config)
    spoken = commands.decode(files, _read_codes(codes), device=device, piece_frames=stream)
    _write_wav(output, spoken.pcm, spoken.sample_rate_hz)
    typer.echo(f"{len(spoken.pcm) / spoken.sample_rate_hz:.2f} s")


def _commands() -> ModuleType:
    """The module with what the commands do. Imports torch, so only once it is needed."""
    try:
        from fishs2.engines.s2 import commands
    except ModuleNotFoundError as error:
        raise EngineUnavailableError(
            f"the s2 engine needs the package {error.name}; `{get_s2()}` installs it"
        ) from error
    return commands


def _files(model: Path, tokenizer: Path | None, codec_config: Path | None) -> "ModelFiles":
    files: ModelFiles = _commands().ModelFiles(model, tokenizer, codec_config)
    return files


def _read_references(paths: list[Path], texts: list[str]) -> "list[Reference | EncodedReference]":
    if len(paths) != len(texts):
        raise FlagError(
            f"{len(paths)} --reference and {len(texts)} --reference-text; give one text for each"
        )
    references: list[Reference | EncodedReference] = []
    for path, text in zip(paths, texts, strict=True):
        if path.suffix == ".npy":
            codes = _read_codes(path).astype(np.int32)
            references.append(_commands().EncodedReference(text, codes))
        else:
            references.append(_read_audio(path, transcript=text))
    return references


def _read_audio(path: Path, *, transcript: str) -> Reference:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", code="no_file") from error
    audio = decode_audio(content, max_seconds=_MAX_REFERENCE_S)
    return Reference(audio.pcm, audio.sample_rate_hz, transcript, key=str(path))


def _read_codes(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    try:
        loaded = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} is not a readable .npy file", code="no_file") from error
    codes: np.ndarray[tuple[int, ...], np.dtype[np.int32]] = loaded
    return codes


def _num_bytes(model: Path) -> int:
    files = model.iterdir() if model.is_dir() else [model]
    return sum(file.stat().st_size for file in files if file.is_file()) if model.exists() else 0


@contextmanager
def _progress(total_bytes: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error while a model loads; the value is called with bytes loaded."""
    columns = (TextColumn("loading"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("loading", total=total_bytes)
        yield lambda num_bytes: progress.advance(task, num_bytes)


def _write_wav(path: Path, pcm: Pcm, sample_rate_hz: int) -> None:
    """A WAV file with 32-bit floats: every sample as the codec made it."""
    samples = pcm.astype("<f4").tobytes()
    ieee_float, num_channels, width = 3, 1, 4
    form = struct.pack(
        "<HHIIHH", ieee_float, num_channels, sample_rate_hz, sample_rate_hz * width, width, 32
    )
    head = b"WAVEfmt " + struct.pack("<I", len(form)) + form
    body = head + b"data" + struct.pack("<I", len(samples)) + samples
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
