"""`fishs2 doctor`: say, one line each, whether everything that the server needs is there."""

import asyncio
import platform
import shutil
import sys
import tempfile
import time
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal

import av
import typer

from fishs2.bootstrap.hardware import find_nvidia_gpus
from fishs2.cli.serve import listen
from fishs2.engines.base import Utterance
from fishs2.errors import Fishs2Error, SettingsError
from fishs2.service.runtime import choose_engine
from fishs2.settings import Settings, load_settings, unknown_names

_ENCODERS = ("libmp3lame", "libopus", "aac", "flac")
_LOW_DISK_BYTES = 200_000_000
_GB = 1_000_000_000

Verdict = Literal["ok", "note", "bad"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. `bad` means that the server cannot work."""

    topic: str
    verdict: Verdict
    text: str


def doctor() -> None:
    """Check this machine. The exit status is 1 if the server could not work here."""
    findings = examine()
    width = max(len(finding.topic) for finding in findings)
    for finding in findings:
        typer.echo(f"{finding.verdict:<4}  {finding.topic:<{width}}  {finding.text}")
    if any(finding.verdict == "bad" for finding in findings):
        raise typer.Exit(1)


def examine() -> list[Finding]:
    """Make all checks, in the order of the report."""
    findings = [_check_python(), _check_ffmpeg()]
    try:
        settings = load_settings()
    except SettingsError as error:
        return [*findings, Finding("settings", "bad", error.message.replace("\n", "; "))]
    return [
        *findings,
        _check_settings(),
        asyncio.run(_check_engine(settings)),
        _check_gpu(),
        _check_model_files(),
        _check_disk(settings),
        _check_port(settings),
    ]


def _check_python() -> Finding:
    version = platform.python_version()
    is_new_enough = sys.version_info >= (3, 11)
    text = f"{version} on {platform.system()} {platform.machine()}"
    return Finding(
        "python",
        "ok" if is_new_enough else "bad",
        text if is_new_enough else f"{text}; 3.11 or newer is needed",
    )


def _check_ffmpeg() -> Finding:
    missing = [name for name in _ENCODERS if name not in av.codecs_available]
    version = ".".join(str(part) for part in av.library_versions["libavcodec"])
    text = f"PyAV {av.__version__} with libavcodec {version}"
    if missing:
        return Finding("ffmpeg", "bad", f"{text} lacks the encoders {', '.join(missing)}")
    return Finding("ffmpeg", "ok", f"{text}: wav, pcm, mp3, opus, aac, flac")


def _check_settings() -> Finding:
    unknown = unknown_names()
    if unknown:
        return Finding("settings", "note", f"without effect: {', '.join(unknown)}")
    return Finding("settings", "ok", "all known")


async def _check_engine(settings: Settings) -> Finding:
    choice = choose_engine(settings)
    engine = choice.engine
    try:
        await engine.start()
        started_s = time.perf_counter()
        num_samples = 0
        async with aclosing(engine.speak(Utterance(text="All is well."))) as chunks:
            async for chunk in chunks:
                num_samples += len(chunk.pcm)
        took_ms = 1000 * (time.perf_counter() - started_s)
    except Fishs2Error as error:
        return Finding("engine", "bad", error.message)
    finally:
        await engine.close()
    capabilities = engine.capabilities
    audio_s = num_samples / capabilities.sample_rate_hz
    return Finding(
        "engine",
        "ok" if num_samples else "bad",
        f"{capabilities.name} on {capabilities.backend}: {audio_s:.1f} s of speech in "
        f"{took_ms:.0f} ms ({choice.reason})",
    )


def _check_gpu() -> Finding:
    gpus = find_nvidia_gpus()
    if not gpus:
        return Finding("gpu", "note", "no NVIDIA card found; the builtin engine needs none")
    cards = ", ".join(
        f"{gpu.name} ({gpu.free_bytes / _GB:.1f} of {gpu.memory_bytes / _GB:.1f} GB free)"
        for gpu in gpus
    )
    return Finding("gpu", "ok", f"{cards}, driver {gpus[0].driver}")


def _check_model_files() -> Finding:
    return Finding("model", "ok", "the builtin engine has its voices in the package; none needed")


def _check_disk(settings: Settings) -> Finding:
    folder = settings.logs_dir.absolute()
    while not folder.exists():
        folder = folder.parent
    try:
        tempfile.TemporaryDirectory(dir=folder).cleanup()
    except OSError as error:
        return Finding("disk", "bad", f"FISHS2_LOGS_DIR={settings.logs_dir}: {error.strerror}")
    free_bytes = shutil.disk_usage(folder).free
    verdict: Verdict = "note" if free_bytes < _LOW_DISK_BYTES else "ok"
    return Finding("disk", verdict, f"{free_bytes / _GB:.1f} GB free for {settings.logs_dir}")


def _check_port(settings: Settings) -> Finding:
    try:
        listen(settings).close()
    except SettingsError as error:
        return Finding("port", "bad", error.message)
    return Finding("port", "ok", f"{settings.port} on {settings.host} is free")
