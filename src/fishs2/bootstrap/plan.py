"""Which engine speaks on this machine, where it computes and what it needs: decided here only."""

import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from fishs2.advice import get_s2
from fishs2.bootstrap.artifacts import can_have_library
from fishs2.bootstrap.files import BEST_QUANT, has_library, library_file, model_file
from fishs2.bootstrap.hardware import Gpu, Hardware, find_hardware
from fishs2.bootstrap.memory import WEIGHT_BYTES, needed_bytes, worthwhile_quants
from fishs2.engines.s2cpp.bundle import (
    CppBackend,
    choose_backend,
    library_name,
    read_bundle,
)
from fishs2.errors import EngineUnavailableError, SettingsError
from fishs2.settings import Settings

_GB = 1e9

EngineName = Literal["builtin", "s2", "s2cpp"]
Backend = Literal["auto", "cuda", "metal", "vulkan", "cpu"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start. quant, quant_reason: for s2 and s2cpp. reason: one clause for people.

    hint: what else they could do; "" for nothing.
    """

    engine: EngineName
    backend: Backend
    reason: str
    quant: str = BEST_QUANT
    quant_reason: str = ""
    hint: str = ""


def make_plan(
    settings: Settings, hardware: Hardware, *, has_torch: bool, may_download: bool
) -> Plan:
    """Decide. Raises SettingsError if a backend is asked for that cannot work here.

    Another engine than the best is taken only where neither engine nor backend is named.
    may_download: whether what is missing can still be had before the engine starts.
    """
    if settings.engine == "builtin":
        return Plan("builtin", "cpu", "--engine or FISHS2_ENGINE names it")
    _check_backend(settings, hardware)
    backend = _backend(settings, hardware)
    shortage = _describe_shortage(settings, hardware) if backend == "cuda" else ""
    if shortage:
        backend = "cpu"
    quant, quant_reason = choose_quant(settings, hardware.gpus if backend == "cuda" else ())
    can_be_had = may_download or (has_torch and model_file(settings, quant).exists())
    engine, reason = _choose_engine(settings, hardware, backend, can_be_had=can_be_had)
    if engine == "builtin":
        hint = f"for S2 Pro{', slowly, on the CPU' if backend == 'cpu' else ''}: {get_s2()}"
        return Plan(engine, "cpu", shortage or reason, quant, quant_reason, hint)
    place = _library_backend(settings, hardware) if engine == "s2cpp" else backend
    hints = [hint for hint in (shortage, _slow_hint(place)) if hint]
    return Plan(engine, place, reason, quant, quant_reason, "; ".join(hints))


def _describe_shortage(settings: Settings, hardware: Hardware) -> str:
    """What the card lacks, where nobody has said that it must be used; "" if nothing."""
    free = _free_bytes(settings, hardware.gpus)
    is_asked_for = settings.backend != "auto" or settings.model_quant is not None
    if is_asked_for or any(_fits(settings, quant, free) for quant in worthwhile_quants()):
        return ""
    need = _describe_need(settings, worthwhile_quants()[-1], free).partition(", so")[0]
    return f"S2 Pro {need}: too little"


def _choose_engine(
    settings: Settings, hardware: Hardware, backend: Backend, *, can_be_had: bool
) -> tuple[EngineName, str]:
    """The engine and why. can_be_had: whether s2 has what it needs, or can get it."""
    if settings.engine != "auto":
        return settings.engine, "--engine or FISHS2_ENGINE names it"
    if settings.backend == "vulkan":
        return "s2cpp", "--backend or FISHS2_BACKEND names vulkan"
    if settings.model_path is not None:
        return "s2", "FISHS2_MODEL_PATH names a model"
    if settings.backend in ("cuda", "metal"):
        return "s2", f"--backend or FISHS2_BACKEND names {backend}"
    if backend == "cpu":
        is_wish = settings.backend == "cpu"
        return "builtin", "FISHS2_BACKEND=cpu" if is_wish else "no card was found"
    card = _name_card(hardware, backend)
    if can_be_had:
        return "s2", f"there is {card}"
    return "builtin", f"there is {card}, but no model of S2 Pro yet"


def plan_here(settings: Settings, *, may_download: bool = False) -> Plan:
    """Decide for this machine, which is looked at only where that can matter.

    Raises SettingsError if what is asked for cannot work here.
    """
    hardware = Hardware((), has_vulkan=False, has_metal=False)
    if settings.engine != "builtin":
        hardware = find_hardware()
    plan = make_plan(settings, hardware, has_torch=has_torch(), may_download=may_download)
    check_installed(settings, plan, has_torch=has_torch(), may_download=may_download)
    return plan


def check_installed(settings: Settings, plan: Plan, *, has_torch: bool, may_download: bool) -> None:
    """Look for the packages and the library of a plan. Raises SettingsError if they are missing."""
    if plan.engine == "s2" and not has_torch and not may_download:
        raise SettingsError(
            f"the s2 engine cannot work here ({plan.reason}): PyTorch or tokenizers is not "
            f"installed. Get it with {get_s2()}, or start with --engine builtin --backend auto"
        )
    if plan.engine == "s2cpp":
        _check_library(settings, plan, may_download=may_download)


def follow_plan(settings: Settings, plan: Plan) -> Settings:
    """The settings with the plan's choices in place of `auto`."""
    return settings.model_copy(
        update={"engine": plan.engine, "backend": plan.backend, "model_quant": plan.quant}
    )


def describe_plan(plan: Plan) -> str:
    """Why this engine, which model, and what else could be had; for people."""
    parts = [plan.reason]
    if plan.engine in ("s2", "s2cpp"):
        parts.append(f"{plan.quant}: {plan.quant_reason}")
    if plan.hint:
        parts.append(plan.hint)
    return "; ".join(parts)


def has_torch() -> bool:
    """Whether the extra `s2` is installed; imports nothing."""
    return find_spec("torch") is not None and find_spec("tokenizers") is not None


def choose_quant(
    settings: Settings,
    gpus: tuple[Gpu, ...],
    exists: Callable[[Settings, str], bool] = lambda s, quant: model_file(s, quant).exists(),
) -> tuple[str, str]:
    """Return the quantisation to use, and why.

    One that is set wins; then one that is there; then the best, up to q8_0, that fits the card.
    """
    if settings.model_quant is not None:
        need = _describe_need(settings, settings.model_quant, _free_bytes(settings, gpus))
        return settings.model_quant, f"--model-quant or FISHS2_MODEL_QUANT names it; it {need}"
    free = _free_bytes(settings, gpus)
    fitting = [quant for quant in WEIGHT_BYTES if _fits(settings, quant, free)]
    if settings.model_path is None:
        there = next((quant for quant in fitting if exists(settings, quant)), None)
        if there is not None:
            return there, f"{_describe_need(settings, there, free)}; it is there already"
    choice = worthwhile_quants()
    quant = next((quant for quant in choice if quant in fitting), choice[-1])
    return quant, _describe_need(settings, quant, free)


def _free_bytes(settings: Settings, gpus: tuple[Gpu, ...]) -> int | None:
    """On the card that is used; None without one."""
    return gpus[min(settings.gpu_device, len(gpus) - 1)].free_bytes if gpus else None


def _fits(settings: Settings, quant: str, free: int | None) -> bool:
    return free is None or needed_bytes(quant, max_positions=settings.max_seq) <= free


def _describe_need(settings: Settings, quant: str, free: int | None) -> str:
    num_bytes = needed_bytes(quant, max_positions=settings.max_seq)
    need = f"needs about {num_bytes / _GB:.1f} GB"
    if free is None:
        return need
    if num_bytes <= free:
        return f"{need} of the {free / _GB:.1f} GB that are free on the card"
    return f"{need}, and {free / _GB:.1f} GB are free on the card, so it may not fit"


def _backend(settings: Settings, hardware: Hardware) -> Backend:
    if settings.backend in ("cuda", "metal", "cpu"):
        return settings.backend
    if settings.backend == "auto":
        if hardware.gpus:
            return "cuda"
        return "metal" if hardware.has_metal else "cpu"
    return "cpu"


def _library_backend(settings: Settings, hardware: Hardware) -> CppBackend:
    """Where the s2.cpp library computes: as asked for, or where its files and this machine can."""
    if settings.backend != "auto":
        return choose_backend(settings.backend, None)
    has = {
        "cuda": bool(hardware.gpus),
        "metal": hardware.has_metal,
        "vulkan": hardware.has_vulkan,
        "cpu": True,
    }
    try:
        backends = read_bundle(library_file(settings)).backends
    except EngineUnavailableError:  # its start will say so
        return "cpu"
    return next(backend for backend in backends if has[backend])


def _check_backend(settings: Settings, hardware: Hardware) -> None:
    is_checked = settings.require_nvidia_gpu and not settings.skip_gpu_check
    if settings.backend == "cuda" and is_checked and not hardware.gpus:
        raise SettingsError(
            "--backend cuda (FISHS2_BACKEND) cannot work here: nvidia-smi is missing or lists no "
            "card. Install NVIDIA's driver, choose --backend auto or cpu, or go on with "
            "--skip-gpu-check"
        )
    if settings.backend == "metal" and not hardware.has_metal:
        raise SettingsError(
            "--backend metal (FISHS2_BACKEND) cannot work here: it needs a Mac with Apple silicon, "
            f"and this is {platform.system()} on {platform.machine()}. Choose "
            f"{_other_backends(hardware)}"
        )
    if settings.backend == "vulkan" and settings.engine == "s2":
        raise SettingsError(
            "--engine s2 cannot compute with --backend vulkan: it knows CUDA, Metal and the CPU. "
            f"Choose --engine s2cpp for Vulkan, or {_other_backends(hardware)}"
        )


def _check_library(settings: Settings, plan: Plan, *, may_download: bool) -> None:
    """Whether the s2.cpp library is there, or can still be had, and computes where it should."""
    if not has_library(settings):
        if may_download and can_have_library(settings):
            return
        place = settings.s2_dll_path or f"{library_name()} in {settings.runtime_dir}"
        raise SettingsError(
            f"the s2cpp engine cannot work here ({plan.reason}): there is no {place}. Name the "
            "library's folder with FISHS2_RUNTIME_DIR or the library with FISHS2_S2_DLL_PATH, or "
            f"an archive of it with FISHS2_RUNTIME_ZIP_PATH or FISHS2_RUNTIME_ZIP_URL and "
            f"`fishs2 fetch --engine s2cpp`; or start with --engine auto --backend auto"
        )
    bundle = read_bundle(library_file(settings))
    if bundle.ggml and plan.backend not in bundle.backends:
        raise SettingsError(
            f"--backend {plan.backend} (FISHS2_BACKEND) cannot work here: {bundle.library} was "
            f"built for {', '.join(bundle.backends)}, as no ggml-{plan.backend} lies beside it. "
            f"Choose --backend {bundle.backends[0]} or auto, or name another library with "
            "FISHS2_RUNTIME_DIR"
        )


def _other_backends(hardware: Hardware) -> str:
    """The flags that would work here."""
    names = [*(["cuda"] if hardware.gpus else []), *(["metal"] if hardware.has_metal else [])]
    return ", ".join(f"--backend {name}" for name in [*names, "cpu"]) + " or --backend auto"


def _name_card(hardware: Hardware, backend: Backend) -> str:
    return hardware.gpus[0].name if backend == "cuda" and hardware.gpus else "Apple silicon"


def _slow_hint(backend: Backend) -> str:
    return "on a CPU S2 Pro is far slower than real time" if backend == "cpu" else ""
