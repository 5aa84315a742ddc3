"""`fishs2 doctor`: say, one line each, whether everything that the server needs is there."""

import asyncio
import platform
import shutil
import sys
import tempfile
import time
from contextlib import aclosing
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

import av
import httpx2
import typer

from fishs2.advice import get_s2
from fishs2.bootstrap.artifacts import missing_artifacts, needed_artifacts
from fishs2.bootstrap.engine import make_engine
from fishs2.bootstrap.files import library_file
from fishs2.bootstrap.hardware import Gpu, Hardware, find_hardware
from fishs2.bootstrap.plan import (
    Plan,
    choose_quant,
    describe_plan,
    follow_plan,
    has_torch,
    make_plan,
)
from fishs2.cli.planning import describe_home
from fishs2.cli.serve import listen
from fishs2.engines.base import Utterance
from fishs2.engines.s2cpp.bundle import Bundle, read_bundle
from fishs2.errors import EngineUnavailableError, Fishs2Error, SettingsError
from fishs2.settings import Settings, describe_unknown, load_settings, unknown_names
from fishs2.settings_sources import read_sources

_ENCODERS = ("libmp3lame", "libopus", "aac", "flac")
_LOW_DISK_BYTES = 200_000_000
_GB = 1_000_000_000
_ANSWER_S = 5
"""What whoever has our port is given to say who it is."""

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
    hardware = find_hardware()
    try:
        plan = make_plan(settings, hardware, has_torch=has_torch(), may_download=False)
    except SettingsError as error:
        return [*findings, _check_gpus(hardware), Finding("engine", "bad", error.message)]
    return [
        *findings,
        _check_settings(),
        _check_home(settings),
        asyncio.run(_check_engine(settings, plan)),
        _check_gpus(hardware),
        _check_torch(plan),
        _check_library(settings, plan),
        _check_model_files(settings, plan, hardware.gpus),
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
    remarks = [describe_unknown(name) for name in unknown_names()] + list(read_sources().notices)
    if remarks:
        return Finding("settings", "note", "; ".join(remarks))
    return Finding("settings", "ok", "all known")


def _check_home(settings: Settings) -> Finding:
    folders = (settings.home, settings.data_dir, settings.voices_dir)
    files = [str(folder) for folder in folders if folder.exists() and not folder.is_dir()]
    if files:
        return Finding("home", "bad", f"{', '.join(files)}: a file is where a folder should be")
    return Finding("home", "ok", describe_home(settings))


async def _check_engine(settings: Settings, plan: Plan) -> Finding:
    engine = make_engine(follow_plan(settings, plan))
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
        f"{took_ms:.0f} ms ({describe_plan(plan)})",
    )


def _check_gpus(hardware: Hardware) -> Finding:
    others = [
        name
        for name, has in (("Vulkan", hardware.has_vulkan), ("Metal", hardware.has_metal))
        if has
    ]
    if not hardware.gpus:
        rest = f"; there is {' and '.join(others)}" if others else ""
        return Finding("gpu", "note", f"nvidia-smi is missing or lists no card{rest}")
    return Finding("gpu", "ok", ", ".join(_describe_gpu(gpu) for gpu in hardware.gpus))


def _describe_gpu(gpu: Gpu) -> str:
    capability = f", compute capability {gpu.compute_capability}" if gpu.compute_capability else ""
    memory = f"{gpu.free_bytes / _GB:.1f} of {gpu.memory_bytes / _GB:.1f} GB free"
    return f"{gpu.name} ({memory}, driver {gpu.driver}{capability})"


def _check_torch(plan: Plan) -> Finding:
    if has_torch():
        return Finding("torch", "ok", f"PyTorch {version('torch')}")
    is_needed = plan.engine == "s2"
    return Finding(
        "torch",
        "bad" if is_needed else "note",
        f"PyTorch is not installed; `{get_s2()}` installs it, for the s2 engine",
    )


def _check_library(settings: Settings, plan: Plan) -> Finding:
    """Whether the s2.cpp library is there, and what its files say about it."""
    verdict: Verdict = "bad" if plan.engine == "s2cpp" else "note"
    try:
        library = library_file(settings)
        bundle = read_bundle(library)
    except EngineUnavailableError as error:
        return Finding("library", verdict, f"{error.message}; for the s2cpp engine")
    text = f"{library}: {_describe_bundle(bundle)}"
    if plan.engine == "s2cpp" and bundle.ggml and plan.backend not in bundle.backends:
        return Finding("library", "bad", f"{text}; but FISHS2_BACKEND={plan.backend}")
    return Finding("library", "ok", text)


def _describe_bundle(bundle: Bundle) -> str:
    if bundle.ggml:
        version = f" {bundle.version}" if bundle.version else ""
        parts = [f"built for {', '.join(bundle.backends)}; {', '.join(bundle.ggml)}{version}"]
    else:
        parts = [
            "no ggml library lies beside it: it is inside, or in FISHS2_RUNTIME_EXTRA_DLL_DIRS; "
            "FISHS2_BACKEND must say where it computes"
        ]
    parts.append("streams" if bundle.streams else "too old to stream")
    if not bundle.counts_layers:
        parts.append("cannot keep layers off the card")
    return "; ".join(parts)


def _check_model_files(settings: Settings, plan: Plan, gpus: tuple[Gpu, ...]) -> Finding:
    quant, reason = choose_quant(settings, gpus)
    missing = missing_artifacts(needed_artifacts(settings, quant))
    is_needed = plan.engine in ("s2", "s2cpp")
    if not missing:
        return Finding("model", "ok", f"S2 Pro {quant} is there: {reason}")
    num_bytes = sum(artifact.num_bytes or 0 for artifact in missing)
    return Finding(
        "model",
        "bad" if is_needed else "note",
        f"S2 Pro is not there; {quant} is the one to get: {reason}; `fishs2 fetch` downloads "
        f"{num_bytes / _GB:.1f} GB",
    )


def _check_disk(settings: Settings) -> Finding:
    folder = settings.logs_dir
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
        if url := _find_server(settings):
            return Finding("port", "note", f"a fishs2 server is already running: {url}")
        return Finding("port", "bad", error.message)
    return Finding("port", "ok", f"{settings.port} on {settings.host} is free")


def _find_server(settings: Settings) -> str | None:
    """The address of a fishs2 server that has our port on this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    url = f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"
    try:
        health = httpx2.get(f"{url}/health", timeout=_ANSWER_S, trust_env=False).json()
    except (httpx2.HTTPError, ValueError):
        return None
    return url if isinstance(health, dict) and {"engine", "voice_count"} <= health.keys() else None
