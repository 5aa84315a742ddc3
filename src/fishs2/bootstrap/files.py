"""Where the files of S2 Pro and of the s2.cpp library lie: one rule for each."""

from pathlib import Path

from fishs2.engines.s2.weights.beside import tokenizer_beside
from fishs2.engines.s2cpp.bundle import find_library
from fishs2.errors import EngineUnavailableError
from fishs2.settings_groups.engines import ModelSettings, S2cppSettings

BEST_QUANT = "q8_0"
"""What is downloaded and looked for where nothing else is asked for or fits."""

_MODELS = Path("models")


def model_file(settings: ModelSettings, quant: str | None = None) -> Path:
    """Where the model lies; quant: None is what the settings name, else the best."""
    name = f"s2-pro-{quant or settings.model_quant or BEST_QUANT}.gguf"
    return settings.model_path or settings.home / _MODELS / name


def tokenizer_file(settings: ModelSettings, quant: str | None = None) -> Path:
    """Where the tokenizer lies: beside the model, unless a setting says."""
    return settings.tokenizer_path or tokenizer_beside(model_file(settings, quant))


def library_file(settings: S2cppSettings) -> Path:
    """The s2.cpp library that is there. Raises EngineUnavailableError if there is none."""
    return find_library(settings.s2_dll_path, settings.runtime_dir)


def has_library(settings: S2cppSettings) -> bool:
    """Whether the s2.cpp library is there."""
    try:
        library_file(settings)
    except EngineUnavailableError:
        return False
    return True
