"""The only reader of the environment and of `.env`.

Every setting is a field of `Settings`; `docs/settings.md` is generated from it. Precedence: flags
(keyword arguments), then the environment, then `.env` in the current folder, then the default.
"""

import json
import os
import re
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le
from dotenv import dotenv_values
from pydantic import BeforeValidator, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from fishs2.errors import SettingsError

ENV_PREFIX = "FISHS2_"
ENV_FILE = Path(".env")


def split_list(value: object) -> object:
    """Read a list written as JSON, or with commas or semicolons; other values pass unchanged."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return [item.strip() for item in re.split(r"[,;]", value) if item.strip()]


def _blank_is_none(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


TextList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_list)]
LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR"],
    BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value),
]
Format = Literal["wav", "mp3", "opus", "aac", "flac", "pcm"]


class Settings(BaseSettings):
    """All settings of the program; constant while it runs."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_file=ENV_FILE,
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
    )

    host: str = Field(
        "0.0.0.0",
        description="Address to listen on; 127.0.0.1 keeps the server to this machine.",
        min_length=1,
    )
    port: int = Field(8020, ge=1, le=65535, description="TCP port to listen on.")
    engine: Literal["auto", "builtin"] = Field(
        "auto", description="What makes the speech; `auto` takes the best that can work here."
    )
    builtin_voice: str = Field(
        "en-us", description="Default voice of the `builtin` engine: an eSpeak NG voice name."
    )
    builtin_workers: int = Field(
        0,
        ge=0,
        le=64,
        description="Processes of the `builtin` engine; 0 means one per core, at most 4.",
    )
    default_model: Annotated[str, Field(min_length=1)] = Field(
        "fishaudio/s2-pro", description="Model id that `/v1/models` lists first."
    )
    model_aliases: TextList = Field(
        ("fishs2", "fish-s2", "s2-pro"), description="Other ids of the same model."
    )
    default_format: Annotated[Format | None, BeforeValidator(_blank_is_none)] = Field(
        None,
        description="Audio format when a request names none; unset means wav, or mp3 for OpenAI "
        "model names.",
    )
    strict_voices: bool = Field(
        False,
        description="Refuse OpenAI's preset voice names (404) instead of using the default voice.",
    )
    strict_v1: bool = Field(
        False, description="Behave as the original wrapper: only wav and only speed 1.0."
    )
    instructions: Literal["style", "ignore"] = Field(
        "style", description="Make plain-text `instructions` a style tag, or drop them."
    )
    max_input_chars: int = Field(
        12_000, ge=1, le=1_000_000, description="Longest text of a request, in characters."
    )
    max_body_bytes: int = Field(
        33_554_432, ge=1_024, le=1_073_741_824, description="Largest body of a request, in bytes."
    )
    max_queue: int = Field(
        64,
        ge=0,
        le=10_000,
        description="Requests that may wait for the engine; one more is answered 429.",
    )
    max_streams: int = Field(
        256, ge=1, le=10_000, description="Speech requests in progress at once; one more is 429."
    )
    client_stall_s: float = Field(
        300.0, gt=0, le=86_400, description="A client that takes no bytes for this long is cut off."
    )
    request_id_header: str = Field(
        "X-Request-ID",
        pattern=r"^[A-Za-z0-9-]+$",
        description="Header that carries the request id in both directions.",
    )
    logs_dir: Path = Field(Path("logs"), description="Folder of the log files.")
    app_log_file: str = Field("app.log", min_length=1, description="Log of what the program does.")
    access_log_file: str = Field("access.log", min_length=1, description="One line per request.")
    error_log_file: str = Field("errors.log", min_length=1, description="Warnings and errors only.")
    log_level: LogLevel = Field("INFO", description="Least severe level that is logged.")
    log_max_bytes: int = Field(10_485_760, ge=1, description="Size at which a log file is rotated.")
    log_backup_count: int = Field(5, ge=1, description="Rotated log files that are kept.")


def load_settings(**flags: str | int | None) -> Settings:
    """Read the settings; `flags` that are not None win over everything else.

    Raises SettingsError that names every bad value, with its range.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        # pydantic checks the values; their types are for it to find wrong.
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        lines = (_describe(item, is_flag=item["loc"][0] in given) for item in error.errors())
        raise SettingsError("\n".join(lines)) from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{ENV_FILE} is not text in UTF-8: {error}") from None


def unknown_names() -> list[str]:
    """Names with our prefix, in the environment or `.env`, that are no setting; sorted."""
    names = {*os.environ, *dotenv_values(ENV_FILE)}
    known = {f"{ENV_PREFIX}{name}".upper() for name in Settings.model_fields}
    return sorted(n for n in names if n.upper().startswith(ENV_PREFIX) and n.upper() not in known)


def allowed_values(field: FieldInfo) -> str:
    """Describe what a setting accepts: its range or its choices, for people; "" for any text."""
    limits = {type(item): item for item in field.metadata}
    bounds = []
    if isinstance(low := limits.get(Ge), Ge):
        bounds.append(f"{low.ge}")
    if isinstance(above := limits.get(Gt), Gt):
        bounds.append(f"above {above.gt}")
    if isinstance(high := limits.get(Le), Le):
        bounds.append(f"to {high.le}" if low else f"at most {high.le}")
    elif bounds:
        bounds.append("or more")
    if bounds:
        return (" " if low else ", ").join(bounds)
    if field.annotation is bool:
        return "true, false"
    return ", ".join(_choices(field.annotation))


def _choices(annotation: object) -> list[str]:
    """The strings of a Literal, wherever it stands in the annotation."""
    found: list[str] = []
    for inner in getattr(annotation, "__args__", ()):
        found.extend([inner] if isinstance(inner, str) else _choices(inner))
    return found


def _describe(error: ErrorDetails, *, is_flag: bool) -> str:
    """One line for one bad value: name, value, what is wrong, what is allowed."""
    field_name = str(error["loc"][0])
    name = f"--{field_name}".replace("_", "-") if is_flag else f"{ENV_PREFIX}{field_name.upper()}"
    allowed = allowed_values(Settings.model_fields[field_name])
    remedy = f"; allowed: {allowed}" if allowed else ""
    return f"{name}={error['input']}: {error['msg']}{remedy}"
