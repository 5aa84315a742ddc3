"""Where programs keep caches and temporary files: inside the project, nowhere else.

Standard library only: run.py loads this file before anything is installed.
"""

import os
from collections.abc import MutableMapping
from pathlib import Path

_FOLDERS = {
    "PIP_CACHE_DIR": ".pip-cache",
    "PIXI_CACHE_DIR": ".pixi-cache",
    "RATTLER_CACHE_DIR": ".pixi-cache/rattler",
    "HF_HOME": ".hf",
    "HF_HUB_CACHE": ".hf/hub",
    "HUGGINGFACE_HUB_CACHE": ".hf/hub",
    "HF_ASSETS_CACHE": ".hf/assets",
    "HF_XET_CACHE": ".hf/xet",
    "XDG_CACHE_HOME": ".cache",
    "TORCH_HOME": ".cache/torch",
    "TORCHINDUCTOR_CACHE_DIR": ".cache/torchinductor",
    "TRITON_CACHE_DIR": ".cache/triton",
    "NUMBA_CACHE_DIR": ".cache/numba",
    "CUDA_CACHE_PATH": ".cache/cuda",
    "TMPDIR": ".tmp",
    "TMP": ".tmp",
    "TEMP": ".tmp",
}
_HF_HOME = "HF_HOME"
_ALWAYS_OURS = frozenset({"TMPDIR", "TMP", "TEMP"})
"""Every system sets these; a temporary copy of a 5 GB file must not land on another disk."""


def keep_caches_inside(
    project: Path, environment: MutableMapping[str, str] | None = None
) -> dict[str, str]:
    """Set the variables, and make the folders. What somebody else has set stays, but for temp.

    environment: changed in place; None is this program's. Returns what was set.
    """
    environment = os.environ if environment is None else environment
    set_here: dict[str, str] = {}
    home_is_given = bool(environment.get(_HF_HOME))
    for name, folder in _FOLDERS.items():
        if home_is_given and name.startswith(("HF_", "HUGGINGFACE_")):
            continue  # the parts of a home that is given belong into it
        if name in _ALWAYS_OURS or not environment.get(name):
            path = project / folder
            path.mkdir(parents=True, exist_ok=True)
            set_here[name] = str(path)
    environment.update(set_here)
    return set_here
