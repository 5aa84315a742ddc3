"""All settings in one, and how they are read.

Precedence: flags (keyword arguments), then the environment, then `.env` in the current folder, then
`.env` at home, then the default. Relative paths are taken from the home folder.
"""

import os
from pathlib import Path

from pydantic import ValidationError

from fishs2.advice import did_you_mean
from fishs2.errors import FlagError, SettingsError
from fishs2.settings_groups.engines import (
    BuiltinSettings,
    DownloadSettings,
    S2cppSettings,
    S2Settings,
)
from fishs2.settings_groups.server import LogSettings, ServerSettings, WyomingSettings
from fishs2.settings_groups.service import (
    ListeningSettings,
    SpeechSettings,
    StoreSettings,
    VoiceSettings,
)
from fishs2.settings_sources import ENV_PREFIX, read_sources
from fishs2.settings_values import describe_error, read_text


class Settings(
    ServerSettings,
    WyomingSettings,
    StoreSettings,
    SpeechSettings,
    VoiceSettings,
    ListeningSettings,
    BuiltinSettings,
    S2Settings,
    S2cppSettings,
    DownloadSettings,
    LogSettings,
):
    """All settings of the program; constant while it runs. Paths are absolute once loaded."""


def load_settings(**flags: str | int | None) -> Settings:
    """Read the settings; `flags` that are not None win over everything else.

    Raises SettingsError that names every bad value, with its range; FlagError if a flag is bad.
    """
    sources = read_sources()
    given = {name: value for name, value in flags.items() if value is not None}
    known = {name: value for name, value in sources.values.items() if name in Settings.model_fields}
    read = {name: read_text(value, Settings.model_fields[name]) for name, value in known.items()}
    try:
        settings = Settings.model_validate({**read, **given})
    except ValidationError as error:
        raise _refuse(error, given) from None
    return settings.model_copy(update=_absolute_paths(settings))


def export_other_lines() -> None:
    """Add the lines of `.env` that are no setting to the environment, where that does not say.

    For HF_TOKEN, CUDA_VISIBLE_DEVICES and whatever else other packages read.
    """
    for name, value in read_sources().others.items():
        os.environ.setdefault(name, value)


def unknown_names() -> list[str]:
    """Names with our prefix, in the environment or `.env`, that are no setting; sorted."""
    known = Settings.model_fields
    return sorted(
        f"{ENV_PREFIX}{name.upper()}" for name in read_sources().values if name not in known
    )


_REMOVED = {
    "FISHS2_BUILTIN_WORKERS": "there is one process per core, four at most",
    "FISHS2_CHUNK_RAMP": "`latency` in a request says how early the first sound comes",
    "FISHS2_CODEC_CONFIG_PATH": "a codec.json beside the model is found by itself",
    "FISHS2_ENGINE_STALL_S": "an engine that gets nowhere has 120 s on a card, 1,800 s on a CPU",
    "FISHS2_LIVE_MAX_FRAME_BYTES": "a frame may bring 1,048,576 bytes",
    "FISHS2_MAX_BODY_BYTES": "FISHS2_MAX_UPLOAD_BYTES limits every body, at 32 MiB at most what "
    "is no upload",
    "FISHS2_MAX_VOICE_SAMPLES": "a voice may have 16 files",
}
"""What older versions had, and what holds instead."""


def describe_unknown(name: str) -> str:
    """A sentence about a name that is no setting."""
    for removed, instead in _REMOVED.items():
        if removed == name or removed.startswith(f"{name}_"):
            return f"{name} is no setting of this version and has no effect: {instead}"
    known = (f"{ENV_PREFIX}{field.upper()}" for field in Settings.model_fields)
    return f"{name} is no setting of this version and has no effect{did_you_mean(name, known)}"


def _absolute_paths(settings: Settings) -> dict[str, object]:
    """The paths of the settings, taken from the home folder."""
    home = settings.home.absolute()
    found: dict[str, object] = {}
    for name, value in settings:
        if isinstance(value, Path):
            found[name] = home / value
        elif isinstance(value, tuple) and any(isinstance(each, Path) for each in value):
            found[name] = tuple(home / each for each in value)
    return found


def _refuse(error: ValidationError, flags: dict[str, str | int]) -> SettingsError:
    lines = []
    is_flag = False
    for item in error.errors():
        field = str(item["loc"][0])
        is_flag |= field in flags
        flag = f"--{field}".replace("_", "-")
        name = flag if field in flags else f"{ENV_PREFIX}{field.upper()}"
        lines.append(describe_error(item, Settings.model_fields[field], name))
    return (FlagError if is_flag else SettingsError)("\n".join(lines))
