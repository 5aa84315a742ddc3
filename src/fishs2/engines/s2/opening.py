"""From plain settings to an S2Engine: which device, in which precision."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from fishs2.engines.s2.engine import S2Engine
from fishs2.engines.s2.model import ModelFiles, Precision

_SMALL_BYTES = 1_000_000_000
"""Models made for tests; a CPU computes them in float32."""

_DENSE_MEMORY_BYTES = 15_000_000_000
"""Multiplied out in bfloat16, S2 Pro takes 11.4 GB; measured, docs/benchmarks.md."""


@dataclass(frozen=True, slots=True)
class S2Place:
    """Where the model computes. backend: auto is a CUDA card if PyTorch sees one."""

    backend: Literal["auto", "cuda", "metal", "cpu"] = "auto"
    gpu_device: int = 0


def open_s2(files: ModelFiles, place: S2Place) -> S2Engine:
    """Return the engine, not yet started; `start` finds out whether files and device are there."""
    return S2Engine(files, choose_precision(files, place))


def choose_precision(files: ModelFiles, place: S2Place) -> Precision:
    """Packed bfloat16 on a card. On a CPU dense bfloat16, 7 times as fast as packed, if it fits."""
    backend = place.backend
    if backend == "auto":
        backend = "cuda" if torch.cuda.is_available() else "cpu"
    match backend:
        case "cuda":
            return Precision(f"cuda:{place.gpu_device}", torch.bfloat16, "packed")
        case "metal":
            return Precision("mps", torch.bfloat16, "packed")
        case _ if _size_bytes(files.model) <= _SMALL_BYTES:
            return Precision("cpu", torch.float32, "dense")
        case _ if _memory_bytes() >= _DENSE_MEMORY_BYTES:
            return Precision("cpu", torch.bfloat16, "dense")
        case _:
            return Precision("cpu", torch.float32, "packed")


def _size_bytes(model: Path) -> int:
    try:
        return model.stat().st_size
    except OSError:  # `start` will say that it is missing
        return 0


def _memory_bytes() -> int:
    """Memory of the machine; 0 where the system does not say."""
    if not hasattr(os, "sysconf"):
        return 0
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
