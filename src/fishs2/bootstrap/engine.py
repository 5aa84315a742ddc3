"""From settings to the engine that they name, not yet started."""

import sys
from importlib.util import find_spec
from pathlib import Path

from fishs2.advice import get_s2
from fishs2.bootstrap.files import model_file, tokenizer_file
from fishs2.engines.base import SpeechEngine
from fishs2.engines.espeak.engine import BuiltinEngine
from fishs2.engines.hosted.engine import HostedEngine
from fishs2.engines.hosted.messages import Recipe, to_plain
from fishs2.engines.hosted.watch import HostLimits
from fishs2.engines.missing import MissingEngine
from fishs2.engines.s2cpp.engine import S2cppOptions, open_s2cpp
from fishs2.settings import Settings
from fishs2.settings_groups.engines import EngineSettings, S2cppSettings, S2Settings


def make_engine(settings: Settings) -> SpeechEngine:
    """Return the engine that the settings name, not yet started; `auto` is builtin.

    What `auto` is on this machine, bootstrap.plan finds out before, the backend too.
    """
    match settings.engine:
        case "s2":
            return _make_s2(settings)
        case "s2cpp":
            return _make_s2cpp(settings)
        case _:
            return BuiltinEngine(voice=settings.builtin_voice)


def _make_s2(settings: S2Settings) -> SpeechEngine:
    # Looked for and not imported: PyTorch is an optional extra, takes seconds to load, and stays
    # out of this process where the engine has one of its own.
    missing = [name for name in ("torch", "tokenizers") if find_spec(name) is None]
    if missing:
        return MissingEngine("s2", f"{missing[0]} is not installed; `{get_s2()}` installs it")
    model = model_file(settings)
    if not model.exists():
        return _without_model("s2", model)
    files = {"model": model, "tokenizer": tokenizer_file(settings)}
    place = {
        "backend": settings.backend,
        "gpu_device": settings.gpu_device,
        "kernels": settings.kernels,
    }
    wishes = {
        "max_seq": settings.max_seq,
        "max_batch": settings.max_batch,
        "idle_unload_s": settings.idle_unload_s,
        "is_guarded": settings.runaway_guard,
    }
    # Plain values, so that the engine can be made here or in a process of its own.
    arguments = {"files": to_plain(files), "place": to_plain(place), "wishes": to_plain(wishes)}
    is_hosted = settings.engine_process
    if is_hosted is None:
        is_hosted = settings.backend in ("cuda", "metal")
    if is_hosted:
        recipe = Recipe("fishs2.engines.s2.engine.make", "open_s2_by_values", arguments)
        return HostedEngine(recipe, limits=_host_limits(settings), temp_dir=settings.temp_dir)
    try:
        from fishs2.engines.s2.engine.make import open_s2_by_values
    except ImportError as error:
        return MissingEngine("s2", f"{error.name} is missing or damaged; `{get_s2()}` installs it")
    return open_s2_by_values(**arguments)


def _make_s2cpp(settings: S2cppSettings) -> SpeechEngine:
    model = model_file(settings)
    if not model.exists():
        return _without_model("s2cpp", model)
    options = S2cppOptions(
        model=model,
        tokenizer=tokenizer_file(settings),
        runtime_dir=settings.runtime_dir,
        dll_path=settings.s2_dll_path,
        extra_dirs=_library_folders(settings),
        backend=settings.backend,
        gpu_device=settings.gpu_device,
        num_gpu_layers=settings.n_gpu_layers,
        num_threads=settings.n_threads,
        is_verbose=settings.verbose,
        max_positions=settings.max_seq,
    )
    return open_s2cpp(options, limits=_host_limits(settings), temp_dir=settings.temp_dir)


def _without_model(engine: str, model: Path) -> MissingEngine:
    return MissingEngine(
        engine, f"its model {model.name} is not there; `fishs2 fetch` downloads it"
    )


def _library_folders(settings: S2cppSettings) -> tuple[Path, ...]:
    """Where the s2.cpp library finds CUDA; Windows looks in no folder that it is not told of."""
    conda = Path(sys.prefix) / "Library" / "bin"
    found = (conda,) if sys.platform == "win32" and conda.is_dir() else ()
    return (*settings.runtime_extra_dll_dirs, *found)


def _host_limits(settings: EngineSettings) -> HostLimits:
    # On a CPU the encoding of a reference or a long prompt alone takes minutes.
    is_card = settings.backend in ("cuda", "metal", "vulkan")
    return HostLimits(stall_s=120.0 if is_card else 1_800.0)
