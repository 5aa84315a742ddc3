"""The s2.cpp library as it lies on the disk: which files are there, and what it was built for.

Nothing is loaded here, so the server, the launcher and `fishs2 doctor` may look; a library that
crashes is for the child process only. Messages name the setting that helps, and no folder: clients
may see them.
"""

import mmap
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fishs2.errors import EngineUnavailableError

CppBackend = Literal["cuda", "vulkan", "metal", "cpu"]

GPU_BACKENDS: tuple[CppBackend, ...] = ("cuda", "metal", "vulkan")
"""In the order in which they are preferred."""

_LIBRARIES = {"win32": "s2.dll", "darwin": "libs2.dylib"}
_SUFFIXES = {"win32": ".dll", "darwin": ".dylib"}
_VERSION = re.compile(r"\.so\.(\d+\.\d+\.\d+)$|\.(\d+\.\d+\.\d+)\.dylib$")

_STREAMING = ("S2SynthesizeStreamingEx", "S2SynthesizeStreaming")
_GPU_LAYERS = ("InitializeS2PipelineFromFiles", "InitializeS2ModelWithGpuLayers")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A library and what lies beside it.

    ggml: the libraries that it is built on, by short name (`ggml-base`, `ggml-cuda`). version: of
    ggml; "" where no file name says. streams, counts_layers: whether its exports say that it can
    send speech while it is made, and keep some layers off the card.
    """

    library: Path
    ggml: dict[str, Path]
    version: str
    streams: bool
    counts_layers: bool

    @property
    def backends(self) -> tuple[CppBackend, ...]:
        """Where it can compute, as far as the files say: ggml may also be inside the library."""
        return (*(each for each in GPU_BACKENDS if f"ggml-{each}" in self.ggml), "cpu")


def library_name() -> str:
    """What the library is called on this system."""
    return _LIBRARIES.get(sys.platform, "libs2.so")


def find_library(dll_path: Path | None, runtime_dir: Path) -> Path:
    """Where the library lies: as named, or in the folder or one inside it.

    Raises EngineUnavailableError that names the file and the setting.
    """
    if dll_path is not None:
        if dll_path.is_file():
            return dll_path
        raise EngineUnavailableError(
            f"there is no s2.cpp library where FISHS2_S2_DLL_PATH says ({dll_path.name}); correct "
            "it, or leave it out to use FISHS2_RUNTIME_DIR"
        )
    if not runtime_dir.is_dir():
        raise EngineUnavailableError(
            f"there is no folder {runtime_dir.name} with the s2.cpp library; name the folder with "
            "FISHS2_RUNTIME_DIR, the library with FISHS2_S2_DLL_PATH, or an archive of it with "
            "FISHS2_RUNTIME_ZIP_PATH or FISHS2_RUNTIME_ZIP_URL"
        )
    name = library_name()
    found = sorted(runtime_dir.rglob(name), key=lambda path: (len(path.parts), path))
    if not found:
        raise EngineUnavailableError(
            f"the folder {runtime_dir.name} has no {name}; name the right folder with "
            "FISHS2_RUNTIME_DIR, or the library with FISHS2_S2_DLL_PATH"
        )
    return found[0]


def read_bundle(library: Path) -> Bundle:
    """Look at a library and its folder. Raises EngineUnavailableError if it cannot be read."""
    ggml = find_ggml(library.parent)
    versions = (_VERSION.search(path.resolve().name) for path in ggml.values())
    version = next((found[1] or found[2] for found in versions if found), "")
    names = (*_STREAMING, *_GPU_LAYERS)
    exported = dict(zip(names, _has_names(library, names), strict=True))
    return Bundle(
        library,
        ggml,
        version,
        streams=any(exported[name] for name in _STREAMING),
        counts_layers=any(exported[name] for name in _GPU_LAYERS),
    )


def find_ggml(folder: Path) -> dict[str, Path]:
    """The ggml libraries in a folder, by short name; of several versions the plainest name.

    Those for one kind of CPU (`ggml-cpu-haswell`) are left to ggml, which knows the CPU.
    """
    suffix = _SUFFIXES.get(sys.platform, ".so")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir(), key=lambda path: (len(path.name), path.name)):
        short = path.name.removeprefix("lib").split(".")[0]
        is_library = path.name.endswith(suffix) or f"{suffix}." in path.name
        is_ours = short == "ggml" or re.fullmatch(r"ggml-(?!cpu-)[a-z]+", short)
        if is_library and is_ours and path.is_file():
            found.setdefault(short, path)
    return found


def choose_backend(wish: str, bundle: Bundle | None) -> CppBackend:
    """The backend that is asked for; `auto` is the best that the bundle's files say it has."""
    for backend in (*GPU_BACKENDS, "cpu"):
        if wish == backend:
            return backend
    return bundle.backends[0] if bundle is not None else "cpu"


def _has_names(library: Path, names: tuple[str, ...]) -> list[bool]:
    """Whether the file has each name among its symbols, which end in a zero byte."""
    try:
        with (
            library.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            return [content.find(b"\0" + name.encode() + b"\0") >= 0 for name in names]
    except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
        raise EngineUnavailableError(
            f"{library.name} cannot be read; is it the s2.cpp library? Correct "
            "FISHS2_S2_DLL_PATH or FISHS2_RUNTIME_DIR"
        ) from error
