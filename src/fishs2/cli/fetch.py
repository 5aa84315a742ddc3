"""`fishs2 fetch`: download what an engine needs, as run.py does, without starting anything."""

from typing import Annotated, Literal

import typer

from fishs2.bootstrap.artifacts import (
    Artifact,
    HubFile,
    LocalFile,
    fetch_artifacts,
    missing_artifacts,
    needed_artifacts,
)
from fishs2.bootstrap.hardware import find_nvidia_gpus
from fishs2.bootstrap.plan import choose_quant
from fishs2.bootstrap.progress import Progress
from fishs2.cli.planning import read_settings
from fishs2.settings import Settings, export_other_lines

EngineName = Annotated[
    Literal["s2", "s2cpp"] | None,
    typer.Option(help="The engine to fetch for (FISHS2_ENGINE, else s2)."),
]
Quant = Annotated[str | None, typer.Option(help="Quantisation of S2 Pro (FISHS2_MODEL_QUANT).")]
Q4 = Annotated[bool, typer.Option("--model-q4", help="The same as --model-quant q4_k_m.")]
Force = Annotated[bool, typer.Option(help="Download again what is already there.")]
DryRun = Annotated[bool, typer.Option(help="Only say what would be downloaded.")]


def fetch(
    engine: EngineName = None,
    model_quant: Quant = None,
    model_q4: Q4 = False,
    force: Force = False,
    dry_run: DryRun = False,
) -> None:
    """Download the model, its tokenizer and, for s2cpp, the library. Resumes what broke off."""
    export_other_lines()
    settings = read_settings(engine=engine, model_quant="q4_k_m" if model_q4 else model_quant)
    quant, reason = choose_quant(settings, tuple(find_nvidia_gpus()))
    typer.echo(f"{quant}: {reason}")
    artifacts = needed_artifacts(settings, quant, engine=_engine(settings))
    wanted = artifacts if force or settings.force_downloads else missing_artifacts(artifacts)
    if not wanted:
        typer.echo("everything is there")
    for artifact in wanted:
        typer.echo(_describe(artifact))
    if not dry_run:
        fetch_artifacts(wanted, Progress(), force=force or settings.force_downloads)


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
    return f"{artifact.label}: {origin} -> {artifact.path}{size}"
