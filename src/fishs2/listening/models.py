"""Whisper's models in the form that is heard with: names, sizes, languages, licence, files."""

from dataclasses import dataclass
from pathlib import Path

FILES = ("config.json", "tokenizer.json", "model.bin")
"""What every model has, the largest last, so that what is complete has it."""

_NEWER = ("vocabulary.json", "preprocessor_config.json")
"""What the models of 128 bands have: the second says so."""


@dataclass(frozen=True, slots=True)
class WhisperModel:
    """A published model. num_bytes: of all its files, about. others: files beside FILES."""

    repo_id: str
    num_bytes: int
    others: tuple[str, ...] = ("vocabulary.txt",)
    languages: str = "100 languages"
    licence: str = "MIT"


def _systran(
    name: str,
    num_bytes: int,
    languages: str = "100 languages",
    others: tuple[str, ...] = ("vocabulary.txt",),
) -> WhisperModel:
    return WhisperModel(f"Systran/faster-whisper-{name}", num_bytes, others, languages)


MODELS = {
    "tiny": _systran("tiny", 78_000_000),
    "tiny.en": _systran("tiny.en", 78_000_000, languages="English"),
    "base": _systran("base", 148_000_000),
    "base.en": _systran("base.en", 148_000_000, languages="English"),
    "small": _systran("small", 486_000_000),
    "small.en": _systran("small.en", 486_000_000, languages="English"),
    "medium": _systran("medium", 1_530_000_000),
    "medium.en": _systran("medium.en", 1_530_000_000, languages="English"),
    "large-v3": _systran("large-v3", 3_090_000_000, others=_NEWER),
    "large-v3-turbo": WhisperModel(
        "mobiuslabsgmbh/faster-whisper-large-v3-turbo", 1_620_000_000, others=_NEWER
    ),
}
"""Smallest first. Sources: the repositories; licence of the weights: openai/whisper."""


def is_model(folder: Path) -> bool:
    """Whether a folder holds a model that can be loaded without a network."""
    return all((folder / name).is_file() for name in FILES)
