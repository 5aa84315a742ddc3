"""`fishs2 fetch`: download what an engine needs, as run.py does, without starting anything."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Annotated, Literal

import typer

from fishs2.bootstrap.artifacts import (
    TOKENIZER,
    Artifact,
    HubFile,
    LocalFile,
    fetch_artifacts,
    listening_artifacts,
    missing_artifacts,
    needed_artifacts,
)
from fishs2.bootstrap.files import model_file, tokenizer_file
from fishs2.bootstrap.hardware import find_nvidia_gpus
from fishs2.bootstrap.pins import Pin, Pins, read_pins, renew_pins, write_pins
from fishs2.bootstrap.plan import choose_quant
from fishs2.bootstrap.progress import Progress
from fishs2.cli.planning import read_settings
from fishs2.errors import DownloadError, FlagError
from fishs2.listening.models import MODELS
from fishs2.listening.whisper import INSTALL
from fishs2.settings import Settings, export_other_lines

EngineName = Annotated[
    str | None,
    typer.Option(help="The engine to fetch for: s2 or s2cpp (FISHS2_ENGINE, else s2)."),
]
Quant = Annotated[str | None, typer.Option(help="Quantisation of S2 Pro (FISHS2_MODEL_QUANT).")]
Q4 = Annotated[bool, typer.Option("--model-q4", help="The same as --model-quant q4_k_m.")]
Asr = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Fetch a Whisper model that recognises speech, and nothing else: tiny, base, small, "
        "medium, large-v3, large-v3-turbo.",
    ),
]
Force = Annotated[bool, typer.Option(help="Download again what is already there.")]
DryRun = Annotated[bool, typer.Option(help="Only say what would be downloaded, or pinned.")]
PinNow = Annotated[
    bool,
    typer.Option(
        "--pin",
        help="Download nothing: learn which SHA-256 the published files have, from the hub or from "
        "the files that are here. Downloads from then on must have it.",
    ),
]


def fetch(
    engine: EngineName = None,
    model_quant: Quant = None,
    model_q4: Q4 = False,
    asr: Asr = None,
    force: Force = False,
    dry_run: DryRun = False,
    pin: PinNow = False,
) -> None:
    """Download the model, its tokenizer and, for s2cpp, the library. Resumes what broke off."""
    export_other_lines()
    if asr is not None:
        _fetch_listener(asr.strip().lower(), force=force, dry_run=dry_run)
        return
    if engine == "builtin":
        raise FlagError("--engine builtin: nothing is to be fetched for it; s2 or s2cpp is meant")
    settings = read_settings(engine=engine, model_quant="q4_k_m" if model_q4 else model_quant)
    if pin:
        pins = _learn_pins(settings)
        if not dry_run:
            write_pins(pins)
        return
    quant, reason = choose_quant(settings, tuple(find_nvidia_gpus()))
    typer.echo(f"{quant}: {reason}")
    artifacts = needed_artifacts(settings, quant, engine=_engine(settings))
    _fetch(artifacts, force=force or settings.force_downloads, dry_run=dry_run)


def _fetch(artifacts: Sequence[Artifact], *, force: bool, dry_run: bool) -> None:
    wanted = artifacts if force else missing_artifacts(artifacts)
    if not wanted:
        typer.echo("everything is there")
    for artifact in wanted:
        typer.echo(_describe(artifact))
    if not dry_run:
        fetch_artifacts(wanted, Progress(), force=force)


def _fetch_listener(size: str, *, force: bool, dry_run: bool) -> None:
    """Download a model that recognises speech; says what it is and what is to be done then."""
    settings = read_settings()
    artifacts = listening_artifacts(settings, size)
    model = MODELS[size]
    typer.echo(
        f"Whisper {size}: about {model.num_bytes / 1e9:.2f} GB, {model.languages}, licence "
        f"{model.licence}"
    )
    _fetch(artifacts, force=force or settings.force_downloads, dry_run=dry_run)
    if find_spec("faster_whisper") is None:
        typer.echo(f"to use it: {INSTALL}")
    if settings.asr_model != size:
        typer.echo(f"FISHS2_ASR_MODEL is {settings.asr_model}: set it to {size} to use this one")


def _learn_pins(settings: Settings) -> Pins:
    """The pins as they are to be; says each. Raises DownloadError if nothing could be learned."""
    old = read_pins()
    quants = {name: name.removeprefix("s2-pro-").removesuffix(".gguf") for name in old.files}
    local = {
        name: tokenizer_file(settings) if name == TOKENIZER else model_file(settings, quant)
        for name, quant in quants.items()
        if name == TOKENIZER or settings.model_path is None
    }
    files: dict[str, Pin] = {}
    for name, found, origin in renew_pins(old, local):
        files[name] = found
        typer.echo(f"{name}: {found.sha256 or 'no SHA-256'} ({origin})")
    if not any(found.sha256 for found in files.values()):
        raise DownloadError(
            f"no SHA-256 could be learned: the hub says none for {old.repo_id}, and none of its "
            "files is here; try again with the network, or after `fishs2 fetch`"
        )
    return Pins(old.repo_id, files)


def _engine(settings: Settings) -> Literal["s2", "s2cpp"]:
    """The engine that the settings name; Vulkan means the library, as at a start."""
    is_library = settings.engine == "s2cpp" or (
        settings.engine == "auto" and settings.backend == "vulkan"
    )
    return "s2cpp" if is_library else "s2"


def _describe(artifact: Artifact) -> str:
    source = artifact.source
    match source:
        case HubFile():
            origin = f"{source.repo_id}/{source.filename}"
        case LocalFile():
            return f"{artifact.label}: {artifact.path} -> {artifact.unpack_to}"
        case _:
            origin = source.url
    size = f", about {artifact.num_bytes / 1e9:.1f} GB" if artifact.num_bytes else ""
    unsure = f" ({artifact.without_sum})" if artifact.without_sum else ""
    return f"{artifact.label}: {origin} -> {artifact.path}{size}{unsure}"
