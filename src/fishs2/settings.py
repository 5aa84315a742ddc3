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
from dotenv import dotenv_values, load_dotenv
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


def _in_lower_case(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


TextList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_list)]
LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR"],
    BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value),
]
EngineName = Literal["auto", "builtin", "s2", "s2cpp"]
Backend = Annotated[
    Literal["auto", "cuda", "vulkan", "metal", "cpu"], BeforeValidator(_in_lower_case)
]
Kernels = Annotated[Literal["auto", "triton", "torch"], BeforeValidator(_in_lower_case)]
ModelQuant = Annotated[
    Literal["f16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q3_k", "q2_k"],
    BeforeValidator(_in_lower_case),
]
PathList = Annotated[tuple[Path, ...], NoDecode, BeforeValidator(split_list)]
FrameCount = Annotated[int, Ge(1), Le(256)]
ChunkRamp = Annotated[
    tuple[FrameCount, ...], NoDecode, BeforeValidator(split_list), Field(min_length=1)
]
HttpUrl = Annotated[str, Field(pattern=r"^https?://[^\s]+$")]
Sha256 = Annotated[str, BeforeValidator(_in_lower_case), Field(pattern=r"^[0-9a-f]{64}$")]
Format = Literal["wav", "mp3", "opus", "aac", "flac", "pcm"]


class Settings(BaseSettings):
    """All settings of the program; constant while it runs."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_file=ENV_FILE,
        env_file_encoding="utf-8-sig",  # Windows' editors put a byte order mark first
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
    )

    host: str = Field(
        "0.0.0.0",
        description="Address to listen on; 127.0.0.1 keeps the server to this machine.",
        min_length=1,
    )
    port: int = Field(8020, ge=1, le=65535, description="TCP port to listen on.")
    engine: EngineName = Field(
        "auto", description="What makes the speech; `auto` takes the best that can work here."
    )
    backend: Backend = Field(
        "auto",
        description="Where `s2` and `s2cpp` compute; `auto` is an NVIDIA card if there is one, and "
        "for `s2cpp` what its library was built for.",
    )
    gpu_device: int = Field(0, ge=0, le=63, description="Number of the card, as its driver counts.")
    require_nvidia_gpu: bool = Field(
        True, description="Refuse to start with `FISHS2_BACKEND=cuda` when no NVIDIA card is found."
    )
    skip_gpu_check: bool = Field(
        False, description="Start with `FISHS2_BACKEND=cuda` whatever card is found."
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
    engine_process: bool | None = Field(
        None,
        description="Run the `s2` engine in a child process, which is replaced if it dies; unset "
        "means on a card, but not on the CPU. `s2cpp` always does, `builtin` has its own.",
    )
    engine_stall_s: float | None = Field(
        None,
        gt=0,
        le=86_400,
        description="A child process that gets nowhere for so long while it speaks is replaced; "
        "unset means 120 s on a card and 1,800 s on the CPU.",
    )
    model_path: Path | None = Field(
        None,
        description="S2 Pro: a GGUF file, or the folder of the official checkpoint. Unset means "
        "`models/s2-pro-<quant>.gguf` in the project folder.",
    )
    tokenizer_path: Path | None = Field(
        None, description="Tokenizer of S2 Pro; unset means `tokenizer.json` beside the model."
    )
    codec_config_path: Path | None = Field(
        None,
        description="JSON with the sizes of a codec other than S2 Pro's; models made for tests.",
    )
    model_quant: ModelQuant | None = Field(
        None,
        description="Which GGUF file of S2 Pro to use and download; unset means the best that is "
        "there or fits the card, `q8_0` at most.",
    )
    temperature: float = Field(
        0.8, ge=0, le=2, description="How freely S2 speaks when a request does not say; 0 is fixed."
    )
    top_p: float = Field(
        0.8, ge=0, le=1, description="Share of the likeliest tokens that S2 draws from."
    )
    top_k: int = Field(
        30, ge=0, le=1_000, description="How many of the likeliest tokens S2 draws from; 0 is all."
    )
    max_new_tokens: int = Field(
        1024, ge=1, le=8192, description="Longest utterance of S2, in frames of 46 ms."
    )
    min_tokens_before_end: int = Field(
        0, ge=0, le=8192, description="Shortest utterance of S2, in frames of 46 ms."
    )
    n_threads: int = Field(
        0, ge=0, le=512, description="Threads of the s2.cpp library; 0 means its own choice."
    )
    n_gpu_layers: int = Field(
        -1, ge=-1, le=1_000, description="Layers that the s2.cpp library puts on the card; -1: all."
    )
    verbose: bool = Field(True, description="Let the s2.cpp library write to its log.")
    voices_dir: Path = Field(Path("voices"), description="Folder of the stored voices.")
    reference_roots: PathList = Field(
        (),
        description="Folders that a request may name reference audio in, beside the voices folder; "
        "unset means the project folder.",
    )
    min_reference_audio_seconds: float = Field(
        0.0, ge=0, le=90, description="Shortest reference for cloning, in seconds."
    )
    max_reference_audio_seconds: float = Field(
        90.0, gt=0, le=90, description="Longest reference for cloning, in seconds."
    )
    max_voice_samples: int = Field(
        16, ge=1, le=1_000, description="Most audio files of one stored voice."
    )
    max_upload_bytes: int = Field(
        104_857_600, ge=1_024, le=1_073_741_824, description="Largest upload of a voice, in bytes."
    )
    loudness_lufs: float = Field(
        -19.0,
        ge=-40,
        le=-10,
        description="Loudness that `normalize_loudness` aims at, in LUFS of ITU-R BS.1770; -19 in "
        "mono is as loud as the -16 in stereo of podcasts.",
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
    max_seq: int = Field(
        4_096,
        ge=512,
        le=32_768,
        description="s2, s2cpp: positions that one utterance may take, with its reference; a "
        "second of audio takes 21.5. More means fewer utterances at once.",
    )
    max_batch: int | None = Field(
        None,
        ge=1,
        le=256,
        description="s2: utterances at once at most. Empty means what half of the free memory "
        "holds, up to 8 on a CPU and 192 on a card.",
    )
    kernels: Kernels = Field(
        "auto",
        description="s2: what computes on an NVIDIA card; `auto` is Triton's kernels where Triton "
        "is installed, `torch` is plain PyTorch, slower.",
    )
    idle_unload_s: float | None = Field(
        None,
        gt=0,
        le=31_536_000,
        description="s2: frees the model's memory after so long without speech; the next request "
        "loads it again.",
    )
    chunk_ramp: ChunkRamp = Field(
        (2, 4, 8, 16),
        description="s2: frames of 46 ms in the first piece of speech, the second and so on; the "
        "last number holds for the rest. `latency` low begins with half of the first, normal with "
        "the second.",
    )
    runaway_guard: bool = Field(
        True,
        description="s2: ends speech that is far too long for its text, repeats itself or falls "
        "silent, and tries other seeds where nobody has heard it. Requests whose max_new_tokens "
        "is not 1,024 set their own limit and are left alone.",
    )
    client_stall_s: float = Field(
        300.0, gt=0, le=86_400, description="A client that takes no bytes for this long is cut off."
    )
    live_max_chars: int = Field(
        200_000,
        ge=1,
        description="Longest text of one live speech, which may all wait to be spoken.",
    )
    live_max_frame_bytes: int = Field(
        1_048_576,
        ge=1_024,
        description="Largest frame that brings text to a live speech, in bytes; the one that "
        "starts it may have `FISHS2_MAX_BODY_BYTES`.",
    )
    live_idle_s: float = Field(
        120.0,
        gt=0,
        le=86_400,
        description="A live speech ends when no text has come for so long and all is spoken.",
    )
    request_id_header: str = Field(
        "X-Request-ID",
        pattern=r"^[A-Za-z0-9-]+$",
        description="Header that carries the request id in both directions.",
    )
    data_dir: Path = Field(
        Path("data"), description="Folder of the database and of the cached audio."
    )
    database_url: str | None = Field(
        None,
        pattern=r"^(sqlite|postgresql)(\+\w+)?://",
        description="Database of keys and usage: `sqlite:///...` or `postgresql://...`; unset is "
        "`fishs2.db` in the data folder.",
    )
    redis_url: str | None = Field(
        None,
        pattern=r"^rediss?://",
        description="Where servers share their rate limits; unset keeps them in memory.",
    )
    public_url: HttpUrl | None = Field(
        None,
        description="Address that links to cached audio begin with; unset means the request's own.",
    )
    clip_life_s: int = Field(
        86_400, ge=1, le=31_536_000, description="How long cached audio is kept, in seconds."
    )
    clips_max_bytes: int = Field(
        2_147_483_648, ge=0, description="Cached audio kept at most; the least recently used goes."
    )
    cors_origins: TextList = Field(
        (),
        description="Origins of web pages that may call every route, `*` for all; unset lets any "
        "page call the open API's `tts`, `list-models` and `profile`, and play cached audio.",
    )
    temp_dir: Path = Field(
        Path(".tmp"), description="Folder for temporary files, in the project folder if relative."
    )
    runtime_dir: Path = Field(
        Path("runtime/fishs2sharp"), description="Folder of the s2.cpp library's files."
    )
    s2_dll_path: Path | None = Field(
        None,
        description="The s2.cpp library itself (`s2.dll`, `libs2.so`, `libs2.dylib`); unset looks "
        "in the folder above.",
    )
    runtime_extra_dll_dirs: PathList = Field(
        (), description="More folders with libraries that the s2.cpp library needs, such as CUDA's."
    )
    skip_downloads: bool = Field(
        False, description="Download nothing at the start; use the files that are there."
    )
    force_downloads: bool = Field(False, description="Download again, even what is already there.")
    hf_repo_id: str = Field(
        "rodrigomt/s2-pro-gguf",
        pattern=r"^[\w.-]+/[\w.-]+$",
        description="Hugging Face repository of the GGUF files and the tokenizer.",
    )
    model_url: HttpUrl | None = Field(None, description="Download the model from here instead.")
    model_sha256: Sha256 | None = Field(None, description="SHA-256 that the model file must have.")
    tokenizer_url: HttpUrl | None = Field(
        None, description="Download the tokenizer from here instead."
    )
    tokenizer_sha256: Sha256 | None = Field(
        None, description="SHA-256 that the tokenizer file must have."
    )
    runtime_zip_url: HttpUrl | None = Field(
        None, description="Download the archive of the s2.cpp library from here instead."
    )
    runtime_zip_sha256: Sha256 | None = Field(
        None, description="SHA-256 that the archive must have."
    )
    runtime_zip_path: Path | None = Field(
        None,
        description="An archive of the s2.cpp library that is there already; or where a download "
        "is kept until it is unpacked. Unset means the folder for temporary files.",
    )
    torch_index_url: HttpUrl | None = Field(
        None, description="Package index that PyTorch is installed from; unset means by the card."
    )
    logs_dir: Path = Field(Path("logs"), description="Folder of the log files.")
    app_log_file: str = Field("app.log", min_length=1, description="Log of what the program does.")
    access_log_file: str = Field("access.log", min_length=1, description="One line per request.")
    error_log_file: str = Field("errors.log", min_length=1, description="Warnings and errors only.")
    log_level: LogLevel = Field("INFO", description="Least severe level that is logged.")
    log_max_bytes: int = Field(10_485_760, ge=1, description="Size at which a log file is rotated.")
    log_backup_count: int = Field(5, ge=1, description="Rotated log files that are kept.")


def project_dir() -> Path:
    """The folder of the checkout that this package runs from; otherwise the current folder."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "pyproject.toml").is_file() else Path.cwd()


def load_project_file() -> None:
    """Add the `.env` of the project folder to the environment, where that does not say.

    For launchers started elsewhere; in the project folder `.env` is read anyway.
    """
    path = project_dir() / ENV_FILE
    if path != Path.cwd() / ENV_FILE:
        load_dotenv(path, override=False, encoding="utf-8-sig")


def in_project(path: Path) -> Path:
    """`path`, taken from the project folder if it is relative."""
    return project_dir() / path


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
    names = {*os.environ, *dotenv_values(ENV_FILE, encoding="utf-8-sig")}
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
    # An address may hold a password.
    value = "..." if field_name.endswith("_url") else error["input"]
    return f"{name}={value}: {error['msg']}{remedy}"
