"""The files that models need: what they are called, where they lie, where they come from."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fishs2.advice import did_you_mean
from fishs2.bootstrap.archive import extract_zip
from fishs2.bootstrap.download import Source, download, has_sha256
from fishs2.bootstrap.files import (
    has_library,
    listening_folder,
    model_file,
    tokenizer_file,
)
from fishs2.bootstrap.hub import download_from_hub
from fishs2.bootstrap.pins import Pin, read_pins
from fishs2.bootstrap.progress import Progress
from fishs2.engines.s2cpp.bundle import library_name
from fishs2.errors import DownloadError
from fishs2.listening.models import FILES, MODELS
from fishs2.settings import Settings
from fishs2.settings_groups.engines import DownloadSettings
from fishs2.settings_groups.home import HomeSettings

MODEL_BYTES = {
    "f16": 9_900_000_000,
    "q8_0": 5_630_037_088,
    "q6_k": 4_525_266_528,
    "q5_k_m": 4_000_000_000,
    "q4_k_m": 3_566_165_088,
    "q3_k": 3_000_000_000,
    "q2_k": 2_600_000_000,
}
"""Sizes of the published files, best first; round ones are approximate. Source: the repository."""

LICENCE = (
    "The S2 Pro weights are under the Fish Audio Research License: free for research and "
    "non-commercial use; commercial use needs a licence from Fish Audio."
)

TOKENIZER = "tokenizer.json"

_BUNDLE_URL = (
    "https://github.com/subspecs/FishS2Sharp/releases/download/v1.0.2/"
    "FishS2Sharp-Win-x86_64-CUDA-VULKAN-CPU.zip"
)
_BUNDLE_NAME = "fishs2sharp_runtime.zip"
_BUNDLE_SHA256 = "15c2036ce0a3a5e6d4c8f81a2834e683f7f40a8155179c66858fd27a15d4cc74"


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a Hugging Face repository. sha256: what a setting asks for, also of what is there.

    pin: what a download must be where no setting asks for anything.
    """

    repo_id: str
    filename: str
    sha256: str | None = None
    pin: Pin = field(default_factory=Pin)


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file that is there already, and stays."""

    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that is needed at `path`. unpack_to: folder that it is an archive for, or None.

    sum_setting: which setting says its SHA-256; "" for none. num_bytes: about; None if unknown.
    """

    label: str
    path: Path
    source: Source | HubFile | LocalFile
    sum_setting: str
    num_bytes: int | None = None
    unpack_to: Path | None = None

    @property
    def without_sum(self) -> str | None:
        """A sentence for people if nothing says what a download must be; else None."""
        source = self.source
        is_pinned = isinstance(source, HubFile) and source.pin.sha256 is not None
        if source.sha256 is not None or is_pinned or isinstance(source, LocalFile):
            return None
        says = f"; {self.sum_setting} says what it must be" if self.sum_setting else ""
        return f"no SHA-256 is known for {self.path.name}: it is taken as it comes{says}"


def needed_artifacts(
    settings: Settings, quant: str, *, engine: Literal["s2", "s2cpp"] = "s2"
) -> list[Artifact]:
    """All files of an engine. Raises DownloadError for a library that nobody publishes."""
    model = model_file(settings, quant)
    needed = [
        Artifact(
            f"S2 Pro {quant}",
            model,
            _source(settings, settings.model_url, _hub_name(model, quant), settings.model_sha256),
            "FISHS2_MODEL_SHA256",
            MODEL_BYTES.get(quant),
        ),
        Artifact(
            "tokenizer",
            tokenizer_file(settings, quant),
            _source(settings, settings.tokenizer_url, TOKENIZER, settings.tokenizer_sha256),
            "FISHS2_TOKENIZER_SHA256",
        ),
    ]
    if engine == "s2cpp":
        needed += _bundle(settings)
    return needed


def listening_artifacts(settings: HomeSettings, size: str) -> list[Artifact]:
    """All files of a published model that recognises speech, the largest last.

    Raises DownloadError for a size that nobody publishes.
    """
    model = MODELS.get(size)
    if model is None:
        raise DownloadError(
            f"there is no Whisper model {size}; sizes are {', '.join(MODELS)}"
            f"{did_you_mean(size, MODELS)}"
        )
    folder = listening_folder(settings, size)
    *small, large = (*model.others, *FILES)
    return [
        *(
            Artifact(f"Whisper {size}", folder / name, HubFile(model.repo_id, name), "")
            for name in small
        ),
        Artifact(
            f"Whisper {size}", folder / large, HubFile(model.repo_id, large), "", model.num_bytes
        ),
    ]


def can_have_library(settings: DownloadSettings) -> bool:
    """Whether an archive of the s2.cpp library is there, or can be downloaded."""
    path = settings.runtime_zip_path
    is_there = path is not None and path.is_file()
    return is_there or settings.runtime_zip_url is not None or sys.platform == "win32"


def missing_artifacts(artifacts: Sequence[Artifact]) -> list[Artifact]:
    """Those that are not there, or are not what their SHA-256 says."""
    return [artifact for artifact in artifacts if not _is_there(artifact)]


def fetch_artifacts(
    artifacts: Sequence[Artifact], progress: Progress, *, force: bool = False
) -> None:
    """Download and unpack what is missing, or everything. Raises DownloadError."""
    wanted = list(artifacts) if force else missing_artifacts(artifacts)
    if any(artifact.path.suffix == ".gguf" for artifact in wanted):
        progress.say(LICENCE)
    for artifact in wanted:
        _fetch(artifact, progress, force=force)
        if artifact.unpack_to is not None:
            progress.say(f"unpacking {artifact.path.name}")
            extract_zip(artifact.path, artifact.unpack_to)
            if not isinstance(artifact.source, LocalFile):
                artifact.path.unlink()
            if not _is_there(artifact):
                raise DownloadError(
                    f"{artifact.path.name} has no {library_name()}: it is not for this system"
                )


def _fetch(artifact: Artifact, progress: Progress, *, force: bool) -> None:
    """Bring the file of an artifact to its place."""
    source = artifact.source
    if isinstance(source, LocalFile):
        if not has_sha256(artifact.path, source.sha256):
            raise DownloadError(
                f"{artifact.path.name} does not have the SHA-256 {source.sha256}; get it again, "
                f"or correct {artifact.sum_setting}"
            )
        return
    size = f", about {artifact.num_bytes / 1e9:.1f} GB" if artifact.num_bytes else ""
    progress.say(f"downloading {artifact.label}: {artifact.path.name}{size}")
    if artifact.without_sum is not None:
        progress.say(artifact.without_sum)
    if isinstance(source, HubFile):
        download_from_hub(
            source.repo_id,
            source.filename,
            artifact.path,
            progress,
            sha256=source.sha256,
            pinned=source.pin.sha256,
            force=force,
        )
    else:
        download(source, artifact.path, progress, force=force)


def _source(
    settings: DownloadSettings, url: str | None, name: str, sha256: str | None
) -> Source | HubFile:
    if url:
        return Source(url, sha256)
    pin = Pin() if sha256 else read_pins().find(settings.hf_repo_id, name)
    return HubFile(settings.hf_repo_id, name, sha256, pin)


def _hub_name(model: Path, quant: str) -> str:
    """The repository's name for a file that may be called otherwise here."""
    published = {f"s2-pro-{name}.gguf" for name in MODEL_BYTES}
    return model.name if model.name in published else f"s2-pro-{quant}.gguf"


def _bundle(settings: Settings) -> list[Artifact]:
    """The archive of the library; nothing where the library is there and no archive is named.

    Source for who wins: contract A.7, an address over a file.
    """
    folder = settings.runtime_dir
    url, sha256 = settings.runtime_zip_url, settings.runtime_zip_sha256
    archive = settings.runtime_zip_path or settings.temp_dir / _BUNDLE_NAME
    source: Source | LocalFile
    if settings.s2_dll_path is not None:
        return []
    if url is not None:
        source = Source(url, sha256)
    elif settings.runtime_zip_path is not None and archive.is_file():
        source = LocalFile(sha256)
    elif has_library(settings):
        return []
    elif sys.platform == "win32":
        source = Source(_BUNDLE_URL, sha256 or _BUNDLE_SHA256)
    else:
        raise DownloadError(
            f"nobody publishes {library_name()} for this system: build s2.cpp and name its "
            "folder with FISHS2_RUNTIME_DIR or the library with FISHS2_S2_DLL_PATH, or name an "
            "archive with FISHS2_RUNTIME_ZIP_PATH or FISHS2_RUNTIME_ZIP_URL"
        )
    setting = "FISHS2_RUNTIME_ZIP_SHA256"
    return [Artifact("s2.cpp library", archive, source, setting, unpack_to=folder)]


def _is_there(artifact: Artifact) -> bool:
    if artifact.unpack_to is not None:
        return artifact.unpack_to.is_dir() and any(artifact.unpack_to.rglob(library_name()))
    if artifact.path.is_dir():  # the official checkpoint
        return True
    return artifact.path.is_file() and has_sha256(artifact.path, artifact.source.sha256)
