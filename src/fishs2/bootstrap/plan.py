"""Which engine speaks on this machine, where it computes and what it needs: decided here only."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from fishs2.bootstrap.artifacts import MODEL_BYTES, can_have_library, has_library, model_file
from fishs2.bootstrap.hardware import Gpu, Hardware, find_hardware
from fishs2.engines.s2cpp_bundle import CppBackend, choose_backend, find_library, read_bundle
from fishs2.errors import EngineUnavailableError, SettingsError
from fishs2.settings import Settings

WORK_BYTES = 2_000_000_000
"""What the s2 engine takes on a card beside its weights: CUDA's context 0.6 to 1 GB, keys and
values 0.6 GB for 4,096 positions, the codec's activations. Source: performance notes, memory."""

GET_S2 = "bash run.sh --engine s2"
_GET_LIBRARY = (
    "name the library's folder with FISHS2_RUNTIME_DIR and run `bash run.sh --engine s2cpp`; "
    f"for S2 Pro on a CUDA card or, slowly, on the CPU: {GET_S2} --backend auto"
)
_BEST_QUANT = "q8_0"
_GB = 1e9

Backend = Literal["auto", "cuda", "metal", "vulkan", "cpu"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start. quant, quant_reason: for s2 and s2cpp. reason: one clause for people.

    hint: what else they could do; "" for nothing.
    """

    engine: Literal["builtin", "s2", "s2cpp"]
    backend: Backend
    reason: str
    quant: str = _BEST_QUANT
    quant_reason: str = ""
    hint: str = ""


def make_plan(
    settings: Settings, hardware: Hardware, *, has_torch: bool, may_download: bool
) -> Plan:
    """Decide. Raises SettingsError if a card is asked for that is not there.

    may_download: whether what is missing can still be had before the engine starts.
    """
    _check_cuda(settings, hardware)
    backend = _backend(settings, hardware)
    if settings.engine == "builtin":
        return Plan("builtin", "cpu", "FISHS2_ENGINE asks for it")
    quant, quant_reason = choose_quant(settings, hardware.gpus if backend == "cuda" else ())

    def s2(reason: str) -> Plan:
        return Plan("s2", backend, reason, quant, quant_reason, _slow_hint(backend))

    def builtin(reason: str, hint: str) -> Plan:
        return Plan("builtin", "cpu", reason, quant, quant_reason, hint)

    def s2cpp(reason: str) -> Plan:
        place = _library_backend(settings, hardware)
        return Plan("s2cpp", place, reason, quant, quant_reason, _slow_hint(place))

    if settings.engine == "s2":
        return s2("FISHS2_ENGINE asks for it")
    if settings.engine == "s2cpp":
        return s2cpp("FISHS2_ENGINE asks for it")
    if settings.backend == "vulkan":
        is_there = has_library(settings) and model_file(settings, quant).exists()
        if is_there or (may_download and (has_library(settings) or can_have_library(settings))):
            return s2cpp("FISHS2_BACKEND=vulkan asks for it, and the s2.cpp library can be had")
        return builtin("Vulkan needs the s2.cpp library and a model", _GET_LIBRARY)
    if settings.backend == "metal" and not hardware.has_metal:
        return builtin("Metal needs a Mac with Apple silicon", f"for S2 Pro: {GET_S2}")
    if settings.model_path is not None:
        return s2("FISHS2_MODEL_PATH names a model")
    is_wanted = backend in ("cuda", "metal")
    if backend == "cuda" and not hardware.gpus:
        return s2("FISHS2_BACKEND=cuda asks for it, and the card is not to be checked")
    if is_wanted and (may_download or (has_torch and model_file(settings, quant).exists())):
        return s2(f"there is {_name_card(hardware, backend)}")
    if is_wanted:
        return builtin(
            f"there is {_name_card(hardware, backend)}, but no model of S2 Pro yet",
            f"to get it: {GET_S2}",
        )
    return builtin("no NVIDIA card was found", f"for S2 Pro, slowly, on the CPU: {GET_S2}")


def plan_here(settings: Settings, *, may_download: bool = False) -> Plan:
    """Decide for this machine, which is looked at only where that can matter."""
    hardware = Hardware((), has_vulkan=False, has_metal=False)
    if settings.engine != "builtin":
        hardware = find_hardware()
    return make_plan(settings, hardware, has_torch=has_torch(), may_download=may_download)


def follow_plan(settings: Settings, plan: Plan) -> Settings:
    """The settings with the plan's choices in place of `auto`."""
    return settings.model_copy(
        update={"engine": plan.engine, "backend": plan.backend, "model_quant": plan.quant}
    )


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
        return settings.model_quant, "FISHS2_MODEL_QUANT asks for it"
    free = gpus[min(settings.gpu_device, len(gpus) - 1)].free_bytes if gpus else None
    choice = [quant for quant in MODEL_BYTES if quant != "f16"]
    fitting = [q for q in choice if free is None or MODEL_BYTES[q] + WORK_BYTES <= free]
    if settings.model_path is None:
        there = [quant for quant in MODEL_BYTES if exists(settings, quant)]
        best = next((quant for quant in there if quant in fitting), None)
        if best is not None:
            return best, f"{_describe_need(best, free)}; it is there already"
    if fitting:
        return fitting[0], _describe_need(fitting[0], free)
    return choice[-1], f"the smallest; {_describe_need(choice[-1], free)}, so it may not fit"


def _describe_need(quant: str, free: int | None) -> str:
    need = f"needs about {(MODEL_BYTES[quant] + WORK_BYTES) / _GB:.1f} GB"
    return need if free is None else f"{need} of the {free / _GB:.1f} GB that are free on the card"


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
        library = find_library(settings.s2_dll_path, settings.runtime_dir)
        backends = read_bundle(library).backends
    except EngineUnavailableError:  # its start will say so
        return "cpu"
    return next(backend for backend in backends if has[backend])


def _check_cuda(settings: Settings, hardware: Hardware) -> None:
    is_checked = settings.require_nvidia_gpu and not settings.skip_gpu_check
    if settings.backend != "cuda" or hardware.gpus or not is_checked:
        return
    raise SettingsError(
        "FISHS2_BACKEND=cuda, but nvidia-smi is missing or lists no card. Install NVIDIA's driver, "
        "choose --backend auto or cpu, or go on with --skip-gpu-check"
    )


def _name_card(hardware: Hardware, backend: Backend) -> str:
    return hardware.gpus[0].name if backend == "cuda" and hardware.gpus else "Apple silicon"


def _slow_hint(backend: Backend) -> str:
    return "on a CPU S2 Pro is far slower than real time" if backend == "cpu" else ""
