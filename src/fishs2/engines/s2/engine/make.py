"""From plain settings to an S2Engine: which device, in which precision."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from fishs2.engines.hosted.messages import from_plain
from fishs2.engines.s2.device.choose_ops import Kernels
from fishs2.engines.s2.device.model import Model, ModelFiles, Precision
from fishs2.engines.s2.engine.core import Limits
from fishs2.engines.s2.engine.engine import S2Engine
from fishs2.engines.s2.engine.runner import slot_bytes
from fishs2.engines.s2.engine.utterance_state import RAMP_FRAMES

_SMALL_BYTES = 1_000_000_000
"""Models made for tests; a CPU computes them in float32."""


_SLOTS_SHARE, _PREFIX_SHARE = 0.5, 0.1
STREAM_BYTES = 30_000_000
"""What the codec remembers of one stream, and what a step needs for it."""

_MAX_BATCH_CPU, _MAX_BATCH_CARD = 8, 192
_UNKNOWN_FREE_BYTES = 4_000_000_000


@dataclass(frozen=True, slots=True)
class S2Place:
    """Where the model computes. backend: auto is a CUDA card if PyTorch sees one. kernels: see
    `Precision`.
    """

    backend: Literal["auto", "cuda", "metal", "cpu"] = "auto"
    gpu_device: int = 0
    kernels: Kernels = "auto"


@dataclass(frozen=True, slots=True)
class S2Wishes:
    """How much at once, and how. max_batch: utterances; None is as many as fit. See `settings`."""

    max_seq: int = 4_096
    max_batch: int | None = None
    idle_unload_s: float | None = None
    ramp: tuple[int, ...] = RAMP_FRAMES
    is_guarded: bool = True


def open_s2(files: ModelFiles, place: S2Place, wishes: S2Wishes) -> S2Engine:
    """Return the engine, not yet started; `start` finds out whether files and device are there."""
    return S2Engine(
        files,
        choose_precision(files, place),
        choose_limits=lambda model: choose_limits(model, wishes),
        idle_unload_s=wishes.idle_unload_s,
        ramp=wishes.ramp,
        is_guarded=wishes.is_guarded,
    )


def open_s2_by_values(files: object, place: object, wishes: object) -> S2Engine:
    """`open_s2` for callers that do not load PyTorch: the fields as plain values, by name."""
    return open_s2(
        from_plain(ModelFiles, files), from_plain(S2Place, place), from_plain(S2Wishes, wishes)
    )


def choose_limits(model: Model, wishes: S2Wishes) -> Limits:
    """What fits into the memory that is free once the model is loaded."""
    is_card = model.ar.device.type == "cuda"
    max_positions = min(wishes.max_seq, model.ar.config.slow.max_positions)
    free = free_bytes(model.ar.device)
    slot = slot_bytes(model.ar, max_positions) + STREAM_BYTES
    most = _MAX_BATCH_CARD if is_card else _MAX_BATCH_CPU
    fitting = max(1, min(most, int(_SLOTS_SHARE * free) // slot))
    # More at once is cheaper per token, and holds up longer those who speak.
    piece = 512 if is_card else 128
    return Limits(
        num_slots=min(fitting, wishes.max_batch or fitting),
        max_positions=max_positions,
        piece_tokens=piece,
        step_tokens=piece,
        prefix_bytes=int(_PREFIX_SHARE * free),
    )


def free_bytes(device: torch.device) -> int:
    """Of the memory that caches of this device would lie in."""
    if device.type == "cuda":
        # What loading and the check of the kernels needed is still held, and free for caches.
        torch.cuda.empty_cache()
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return _UNKNOWN_FREE_BYTES
    # "MemAvailable:   12345 kB": what is free, and what the system would give up at once.
    sizes = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return 1024 * sizes[0] if sizes else _UNKNOWN_FREE_BYTES


def choose_precision(files: ModelFiles, place: S2Place) -> Precision:
    """Packed, in bfloat16, save for small models on a CPU. Plain floats are dense anyway."""
    return replace(_choose_device(files, place), kernels=place.kernels)


def _choose_device(files: ModelFiles, place: S2Place) -> Precision:
    backend = place.backend
    if backend == "auto":
        backend = "cuda" if torch.cuda.is_available() else "cpu"
    match backend:
        case "cuda":
            name = f"cuda:{place.gpu_device}"
            return Precision(name, _card_dtype(name), "packed")
        case "metal":
            return Precision("mps", torch.bfloat16, "packed")
        case _ if _size_bytes(files.model) <= _SMALL_BYTES:
            return Precision("cpu", torch.float32, "packed")
        case _:
            return Precision("cpu", torch.bfloat16, "packed")


def _card_dtype(name: str) -> torch.dtype:
    """bfloat16 where the card computes in it, which is from compute capability 8.0 on."""
    try:
        has_bfloat16 = torch.cuda.get_device_capability(name) >= (8, 0)
    except (RuntimeError, AssertionError):  # there is no such card; `start` will say so
        has_bfloat16 = True
    return torch.bfloat16 if has_bfloat16 else torch.float16


def _size_bytes(model: Path) -> int:
    try:
        return model.stat().st_size
    except OSError:  # `start` will say that it is missing
        return 0
