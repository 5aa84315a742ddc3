"""The home of everything that the program keeps: one folder, whatever the current folder is."""

from pathlib import Path

from platformdirs import user_data_path


def find_checkout() -> Path | None:
    """The folder of the checkout that this package runs from; None for an installed package."""
    source = Path(__file__).resolve().parents[1]
    is_checkout = source.name == "src" and (source.parent / "pyproject.toml").is_file()
    return source.parent if is_checkout else None


def default_home() -> Path:
    """The checkout, or the folder where this system's programs keep what a user made."""
    return find_checkout() or user_data_path("fishs2", appauthor=False)
