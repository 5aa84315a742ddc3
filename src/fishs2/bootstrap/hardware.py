"""What this machine can compute on. Asks the drivers' own programs; imports no GPU library."""

import ctypes.util
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_NVIDIA_SMI_TIMEOUT_S = 10
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Gpu:
    """One NVIDIA card. memory_bytes: in all; free_bytes: not in use at present.

    compute_capability: for example 8.6; 0 if the driver does not say.
    """

    name: str
    driver: str
    memory_bytes: int
    free_bytes: int
    compute_capability: float = 0.0


@dataclass(frozen=True, slots=True)
class Hardware:
    """What was found. has_vulkan: a loader and a card; has_metal: a Mac with Apple silicon."""

    gpus: tuple[Gpu, ...]
    has_vulkan: bool
    has_metal: bool


def find_hardware() -> Hardware:
    """Look at this machine; takes as long as nvidia-smi does."""
    return Hardware(tuple(find_nvidia_gpus()), _has_vulkan(), _has_metal())


def _has_vulkan() -> bool:
    name = "vulkan-1" if sys.platform == "win32" else "vulkan"
    # The loader alone draws on the CPU; on Linux a card shows as a device too.
    has_card = sys.platform == "win32" or any(Path("/sys/class/drm").glob("card[0-9]"))
    return has_card and ctypes.util.find_library(name) is not None


def _has_metal() -> bool:
    return sys.platform == "darwin" and platform.machine() == "arm64"


def find_nvidia_gpus() -> list[Gpu]:
    """List the NVIDIA cards that the driver reports; empty without a driver.

    Source: nvidia-smi --help-query-gpu; memory is given in MiB.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = "--query-gpu=name,driver_version,memory.total,memory.free"
    # Drivers before 510 do not know the last field and then answer nothing at all.
    for fields in (f"{query},compute_cap", query):
        try:
            answer = subprocess.run(
                [program, fields, "--format=csv,noheader,nounits"],
                capture_output=True,
                text=True,
                timeout=_NVIDIA_SMI_TIMEOUT_S,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            continue
        return parse_nvidia_smi(answer.stdout)
    return []


def parse_nvidia_smi(answer: str) -> list[Gpu]:
    """Read the lines of nvidia-smi; a card whose memory it does not know is left out."""
    gpus = []
    for line in answer.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) < 4 or not (fields[2].isdecimal() and fields[3].isdecimal()):
            continue
        name, driver, total, free = fields[:4]
        try:
            capability = float(fields[4])
        except (IndexError, ValueError):
            capability = 0.0
        gpus.append(Gpu(name, driver, int(total) * _MIB, int(free) * _MIB, capability))
    return gpus
