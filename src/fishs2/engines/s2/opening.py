"""From plain settings to an S2Engine: which device, in which precision."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from fishs2.engines.s2.engine import S2Engine
from fishs2.engines.s2.model import ModelFiles, Precision

_DENSE_CPU_LIMIT_BYTES = 1_000_000_000
"""On a CPU a larger GGUF file stays packed: multiplied out, S2 Pro takes 18 GB of memory."""


@dataclass(frozen=True, slots=True)
class S2Place:
    """Where the model computes. backend: auto is a CUDA card if PyTorch sees one."""

    backend: Literal["auto", "cuda", "metal", "cpu"] = "auto"
    gpu_device: int = 0


def open_s2(files: ModelFiles, place: S2Place, *, references_folder: Path | None) -> S2Engine:
    """Return the engine, not yet started; `start` finds out whether files and device are there."""
    return S2Engine(files, choose_precision(files, place), references_folder=references_folder)


def choose_precision(files: ModelFiles, place: S2Place) -> Precision:
    """Packed bfloat16 on a card. On a CPU float32, dense where that is small."""
    backend = place.backend
    if backend == "auto":
        backend = "cuda" if torch.cuda.is_available() else "cpu"
    match backend:
        case "cuda":
            return Precision(f"cuda:{place.gpu_device}", torch.bfloat16, "packed")
        case "metal":
            return Precision("mps", torch.bfloat16, "packed")
        case _:
            is_small = _size_bytes(files.model) <= _DENSE_CPU_LIMIT_BYTES
            return Precision("cpu", torch.float32, "dense" if is_small else "packed")


def _size_bytes(model: Path) -> int:
    try:
        return model.stat().st_size
    except OSError:  # `start` will say that it is missing
        return 0
