"""The group that all others know: where everything lies."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from fishs2.home import default_home
from fishs2.settings_values import HomePath


class HomeSettings(BaseModel):
    """The home folder, which all groups know: relative paths are taken from there."""

    # Of all groups only `Settings` is ever compiled, and by commands that read settings only.
    model_config = ConfigDict(frozen=True, defer_build=True)

    home: HomePath = Field(
        default_factory=default_home,
        description="Folder of everything that the program keeps; relative paths below are taken "
        "from it, and `.env` is read there. Unset means the checkout, or for an installed package "
        "the system's folder for the data of programs. Only in the environment.",
    )
    temp_dir: HomePath = Field(
        Path("temp"),
        description="Folder for temporary files, such as whole answers of more than 32 MB.",
    )
