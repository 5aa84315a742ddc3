"""Where the files of S2 Pro, of Whisper and of the s2.cpp library lie: one rule for each."""

from pathlib import Path

from fishs2.advice import did_you_mean
from fishs2.engines.s2.weights.beside import tokenizer_beside
from fishs2.engines.s2cpp.bundle import find_library
from fishs2.errors import EngineUnavailableError, SettingsError
from fishs2.listening.models import MODELS
from fishs2.settings_groups.engines import ModelSettings, S2cppSettings
from fishs2.settings_groups.home import HomeSettings
from fishs2.settings_groups.service import ListeningSettings

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


def listening_model(settings: ListeningSettings) -> tuple[str, Path]:
    """How the model that recognises speech is called, and its folder.

    Raises SettingsError for what is neither a size nor looks like a folder.
    """
    given = settings.asr_model.strip()
    if given.lower() in MODELS:
        return given.lower(), listening_folder(settings, given.lower())
    folder = settings.home / Path(given).expanduser()
    if len(Path(given).parts) > 1 or folder.is_dir():
        return folder.name.removeprefix("whisper-"), folder
    raise SettingsError(
        f"FISHS2_ASR_MODEL is {given!r}, which is neither a folder nor a size; sizes are "
        f"{', '.join(MODELS)}{did_you_mean(given, MODELS)}"
    )


def listening_folder(settings: HomeSettings, size: str) -> Path:
    """Where a published model that recognises speech lies."""
    return settings.home / _MODELS / f"whisper-{size}"


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
