"""What this machine can compute on. Asks the drivers' own programs; imports no GPU library."""

import shutil
import subprocess
from dataclasses import dataclass

_NVIDIA_SMI_TIMEOUT_S = 10
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Gpu:
    """One NVIDIA card. memory_bytes: in all; free_bytes: not in use at present."""

    name: str
    driver: str
    memory_bytes: int
    free_bytes: int


def find_nvidia_gpus() -> list[Gpu]:
    """List the NVIDIA cards that the driver reports; empty without a driver.

    Source: nvidia-smi --help-query-gpu; memory is given in MiB.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = "--query-gpu=name,driver_version,memory.total,memory.free"
    try:
        answer = subprocess.run(
            [program, query, "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=_NVIDIA_SMI_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return parse_nvidia_smi(answer.stdout)


def parse_nvidia_smi(answer: str) -> list[Gpu]:
    """Read the lines of nvidia-smi; a card whose memory it does not know is left out."""
    gpus = []
    for line in answer.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) == 4 and fields[2].isdecimal() and fields[3].isdecimal():
            name, driver, total, free = fields
            gpus.append(Gpu(name, driver, int(total) * _MIB, int(free) * _MIB))
    return gpus
