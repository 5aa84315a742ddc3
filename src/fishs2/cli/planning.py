"""What several commands say of the settings that they read."""

import sys

from fishs2.settings import Settings, load_settings
from fishs2.settings_sources import read_sources


def read_settings(**flags: str | int | None) -> Settings:
    """The settings of a command that a person watches, who is told of files in old places."""
    settings = load_settings(**flags)
    for notice in read_sources().notices:
        print(f"fishs2: {notice}", file=sys.stderr)
    return settings


def describe_home(settings: Settings) -> str:
    """Where what the program keeps is, for people."""
    folders = {
        "data": settings.data_dir,
        "voices": settings.voices_dir,
        "logs": settings.logs_dir,
        "temp": settings.temp_dir,
    }
    elsewhere = [
        f"{name} in {folder}" for name, folder in folders.items() if folder != settings.home / name
    ]
    return ", ".join([str(settings.home), *elsewhere])
