"""Installing PyTorch for the s2 engine: the build that fits the card, by pip."""

import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence

from fishs2.bootstrap.hardware import Gpu
from fishs2.bootstrap.progress import Progress
from fishs2.errors import DownloadError
from fishs2.home import find_checkout
from fishs2.settings_groups.engines import DownloadSettings

_INDEX = "https://download.pytorch.org/whl/"
_CURRENT_CUDA, _OLDER_CUDA = "cu130", "cu126"

# CUDA 13 needs driver 580 and has no code for cards before Turing. Source: CUDA 13.0 release
# notes.
_MIN_DRIVER = 580
_MIN_CAPABILITY = 7.5

_NEEDED_BYTES = {"cuda": 9_000_000_000, "other": 2_000_000_000}
"""Disk that PyTorch takes while it is installed: the packages and what they unpack to."""

Run = Callable[[Sequence[str]], int]


def choose_index(settings: DownloadSettings, gpus: Sequence[Gpu], system: str) -> str | None:
    """The package index that PyTorch is to come from; None is pip's own.

    system: as sys.platform. On Linux pip's own has the current CUDA, on Windows none at all.
    """
    if settings.torch_index_url is not None:
        return settings.torch_index_url
    if not gpus or system == "darwin":
        return None
    driver = gpus[0].driver.partition(".")[0]
    is_old = (driver.isdecimal() and int(driver) < _MIN_DRIVER) or (
        0 < gpus[0].compute_capability < _MIN_CAPABILITY
    )
    if is_old:
        return _INDEX + _OLDER_CUDA
    return _INDEX + _CURRENT_CUDA if system == "win32" else None


def install_torch(
    settings: DownloadSettings, gpus: Sequence[Gpu], progress: Progress, run: Run | None = None
) -> None:
    """Install the extra `s2` into this environment. Raises DownloadError.

    run: what executes pip; it returns its exit status.
    """
    if sys.platform == "darwin" and platform.machine() == "x86_64":
        raise DownloadError("PyTorch is not made for Macs with Intel processors any more")
    _check_room(gpus)
    root = find_checkout()
    pip = [sys.executable, "-m", "pip", "install"]
    if root is not None:
        pip += ["--constraint", str(root / "constraints.txt")]
    index = choose_index(settings, gpus, sys.platform)
    build = f"from {index}" if index else "the build for this system"
    size = _needed_bytes(gpus) / 1e9
    progress.say(
        f"installing PyTorch, {build}: up to {size:.0f} GB on the disk; this takes minutes and is "
        "done once"
    )
    run = run or _run
    # PyTorch first, from its own index; what it depends on may not be there.
    steps = [
        [*pip, "torch", *(["--index-url", index] if index else [])],
        [*pip, "fishs2[s2]" if root is None else f"{root}[s2]"],
    ]
    for step in steps:
        if run(step) != 0:
            raise DownloadError(
                "PyTorch could not be installed; pip says above why. Without it the s2 engine "
                "cannot work: try again, or start with --engine builtin"
            )


def _needed_bytes(gpus: Sequence[Gpu]) -> int:
    return _NEEDED_BYTES["cuda" if gpus or sys.platform == "linux" else "other"]


def _check_room(gpus: Sequence[Gpu]) -> None:
    needed = _needed_bytes(gpus)
    free = shutil.disk_usage(sys.prefix).free
    if free < needed:
        raise DownloadError(
            f"PyTorch needs {needed / 1e9:.0f} GB on the disk of {sys.prefix}, where "
            f"{free / 1e9:.1f} GB are free"
        )


def _run(command: Sequence[str]) -> int:
    return subprocess.run(command, check=False).returncode
