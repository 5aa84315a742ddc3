"""Every setting, as a field of the group of its owner; `docs/settings.md` is generated from it.

Who needs a part of the settings takes its group. `Settings` is all of them in one, as the names
that people write are flat. Defaults are here and nowhere else.
"""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from fishs2.home import default_home
from fishs2.settings_values import (
    Backend,
    BaseUrl,
    Emoji,
    EngineName,
    Format,
    HomePath,
    Host,
    HostNames,
    HttpUrl,
    Instructions,
    Kernels,
    LogLevel,
    ModelQuant,
    Networks,
    Origins,
    PathList,
    Port,
    Sha256,
    TextCleaning,
    TextList,
)


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


class ServerSettings(HomeSettings):
    """The port, who may reach it, and how much at once."""

    host: Host = Field(
        "0.0.0.0",
        description="Address to listen on; 127.0.0.1 keeps the server to this machine.",
    )
    port: Port = Field(8020, description="TCP port to listen on; 0 takes a free one.")
    public_url: BaseUrl | None = Field(
        None,
        description="Address that clients reach this server by, with its path; unset means the "
        "request's own.",
    )
    allowed_hosts: HostNames = Field(
        (),
        description="More names that browsers may call this server by, `*.example.com` for all "
        "below one, `*` for any; its addresses, names without dots, those of a local network and "
        "that of `FISHS2_PUBLIC_URL` need not be named.",
    )
    cors_origins: Origins = Field(
        (),
        description="Origins of web pages that may call every route, `*` for all; unset lets any "
        "page call the open API's `tts`, `list-models` and `profile`, and play cached audio.",
    )
    trusted_proxies: Networks = Field(
        ("127.0.0.0/8", "::1/128"),
        description="Addresses and networks of the proxies whose forwarded headers count, `*` for "
        "all.",
    )
    request_id_header: str = Field(
        "X-Request-ID",
        pattern=r"^[A-Za-z0-9-]+$",
        description="Header that carries the request id in both directions.",
    )
    max_upload_bytes: int = Field(
        104_857_600,
        ge=1_024,
        le=1_073_741_824,
        description="Largest upload of a voice, in bytes; every other body of a request, which is "
        "read in one piece, has this limit too, or 32 MiB if that is less.",
    )
    max_streams: int = Field(
        256, ge=1, le=10_000, description="Speech requests in progress at once; one more is 429."
    )
    max_queue: int = Field(
        64,
        ge=0,
        le=10_000,
        description="Requests that may wait for the engine; one more is answered 429.",
    )
    max_connections: int = Field(
        2_048,
        ge=1,
        le=100_000,
        description="Connections at once, fewer where the system gives fewer files; idle ones give "
        "way, then a new one is answered 503.",
    )
    max_connections_per_address: int = Field(
        512,
        ge=1,
        le=100_000,
        description="Connections from one address (IPv6: one /64 network); one more is 429. This "
        "machine and `FISHS2_TRUSTED_PROXIES` may have any number.",
    )
    client_stall_s: float = Field(
        300.0, gt=0, le=86_400, description="A client that takes no bytes for this long is cut off."
    )
    live_max_chars: int = Field(
        200_000,
        ge=1,
        description="Longest text of one live speech, which may all wait to be spoken.",
    )
    live_idle_s: float = Field(
        120.0,
        gt=0,
        le=86_400,
        description="A live speech ends when no text has come for so long and all is spoken.",
    )
    shutdown_s: float = Field(
        30.0,
        ge=0,
        le=3_600,
        description="What is spoken at the end of the server may take so long.",
    )


class StoreSettings(HomeSettings):
    """Keys, their use, and cached audio."""

    data_dir: HomePath = Field(
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
    clip_life_s: int = Field(
        86_400, ge=1, le=31_536_000, description="How long cached audio is kept, in seconds."
    )
    clips_max_bytes: int = Field(
        2_147_483_648, ge=0, description="Cached audio kept at most; the least recently used goes."
    )


class SpeechSettings(HomeSettings):
    """What a request means where it does not say."""

    default_format: Format | None = Field(
        None,
        description="Audio format when a request names none; unset means wav, or mp3 for OpenAI "
        "model names.",
    )
    default_model: Annotated[str, Field(min_length=1)] = Field(
        "fishaudio/s2-pro", description="Model id that `/v1/models` lists first."
    )
    model_aliases: TextList = Field(("fishs2", "fish-s2", "s2-pro"), description="Its other ids.")
    strict_voices: bool = Field(
        False,
        description="Refuse OpenAI's preset voice names (404) instead of using the default voice.",
    )
    strict_v1: bool = Field(
        False, description="Behave as the original wrapper: only wav and only speed 1.0."
    )
    emoji: Emoji = Field(
        "read",
        description="Read emoji by name, or leave them out; a request may say. `s2` gets them as "
        "they are.",
    )
    text_cleaning: TextCleaning = Field(
        "minimal",
        description="What is taken out of a text: `minimal` addresses of links, `markdown` also "
        "marks of Markdown and HTML, code, and what a model thought. A request may say.",
    )
    instructions: Instructions = Field(
        "style", description="Make plain-text `instructions` a style tag, or drop them."
    )
    max_input_chars: int = Field(
        12_000, ge=1, le=1_000_000, description="Longest text of a request, in characters."
    )
    loudness_lufs: float = Field(
        -19.0,
        ge=-40,
        le=-10,
        description="Loudness that `normalize_loudness` aims at, in LUFS of ITU-R BS.1770; -19 in "
        "mono is as loud as the -16 in stereo of podcasts.",
    )


class VoiceSettings(HomeSettings):
    """Stored voices and references."""

    voices_dir: HomePath = Field(Path("voices"), description="Folder of the stored voices.")
    reference_roots: PathList = Field(
        (),
        description="Folders that a request may name reference audio in, beside the voices folder; "
        "unset means the home folder.",
    )
    min_reference_audio_seconds: float = Field(
        0.0, ge=0, le=90, description="Shortest reference for cloning, in seconds."
    )
    max_reference_audio_seconds: float = Field(
        90.0, gt=0, le=90, description="Longest reference for cloning, in seconds."
    )


class EngineSettings(HomeSettings):
    """What speaks, and where it computes."""

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


class BuiltinSettings(HomeSettings):
    """The `builtin` engine."""

    builtin_voice: str = Field(
        "en-us", description="Default voice of the `builtin` engine: an eSpeak NG voice name."
    )


class ModelSettings(HomeSettings):
    """S2 Pro, for both engines that run it."""

    model_path: HomePath | None = Field(
        None,
        description="S2 Pro: a GGUF file, or the folder of the official checkpoint. Unset means "
        "`models/s2-pro-<quant>.gguf`.",
    )
    tokenizer_path: HomePath | None = Field(
        None, description="Tokenizer of S2 Pro; unset means `tokenizer.json` beside the model."
    )
    model_quant: ModelQuant | None = Field(
        None,
        description="Which GGUF file of S2 Pro to use and download; unset means the best that is "
        "there or fits the card, `q8_0` at most.",
    )
    max_seq: int = Field(
        4_096,
        ge=512,
        le=32_768,
        description="s2, s2cpp: positions that one utterance may take, with its reference; a "
        "second of audio takes 21.5. More means fewer utterances at once.",
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


class S2Settings(EngineSettings, ModelSettings):
    """The `s2` engine."""

    kernels: Kernels = Field(
        "auto",
        description="s2: what computes on an NVIDIA card; `auto` is Triton's kernels where Triton "
        "is installed, `torch` is plain PyTorch, slower.",
    )
    max_batch: int | None = Field(
        None,
        ge=1,
        le=256,
        description="s2: utterances at once at most. Empty means what half of the free memory "
        "holds, up to 8 on a CPU and 192 on a card.",
    )
    idle_unload_s: float | None = Field(
        None,
        gt=0,
        le=31_536_000,
        description="s2: frees the model's memory after so long without speech; the next request "
        "loads it again.",
    )
    runaway_guard: bool = Field(
        True,
        description="s2: ends speech that is far too long for its text, repeats itself or falls "
        "silent, and tries other seeds where nobody has heard it. Requests with a max_new_tokens "
        "set their own limit and are left alone, except the 1,024 that clients of Fish Audio's "
        "APIs always send.",
    )
    engine_process: bool | None = Field(
        None,
        description="Run the `s2` engine in a child process, which is replaced if it dies; unset "
        "means on a card, but not on the CPU. `s2cpp` always does, `builtin` has its own.",
    )


class S2cppSettings(EngineSettings, ModelSettings):
    """The `s2cpp` engine and its library."""

    runtime_dir: HomePath = Field(
        Path("runtime/fishs2sharp"), description="Folder of the s2.cpp library's files."
    )
    s2_dll_path: HomePath | None = Field(
        None,
        description="The s2.cpp library itself (`s2.dll`, `libs2.so`, `libs2.dylib`); unset looks "
        "in the folder above.",
    )
    runtime_extra_dll_dirs: PathList = Field(
        (), description="More folders with libraries that the s2.cpp library needs, such as CUDA's."
    )
    n_gpu_layers: int = Field(
        -1, ge=-1, le=1_000, description="Layers that the s2.cpp library puts on the card; -1: all."
    )
    n_threads: int = Field(
        0, ge=0, le=512, description="Threads of the s2.cpp library; 0 means its own choice."
    )
    verbose: bool = Field(True, description="Let the s2.cpp library write to its log.")


class DownloadSettings(HomeSettings):
    """What is downloaded, and from where."""

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
    tokenizer_sha256: Sha256 | None = Field(None, description="SHA-256 that its file must have.")
    runtime_zip_url: HttpUrl | None = Field(
        None, description="Download the archive of the s2.cpp library from here instead."
    )
    runtime_zip_sha256: Sha256 | None = Field(None, description="SHA-256 that it must have.")
    runtime_zip_path: HomePath | None = Field(
        None,
        description="An archive of the s2.cpp library that is there already; or where a download "
        "is kept until it is unpacked. Unset means the folder for temporary files.",
    )
    torch_index_url: BaseUrl | None = Field(
        None, description="Package index that PyTorch is installed from; unset means by the card."
    )


class LogSettings(HomeSettings):
    """Log files."""

    logs_dir: HomePath = Field(Path("logs"), description="Folder of the log files.")
    app_log_file: str = Field("app.log", min_length=1, description="Log of what the program does.")
    access_log_file: str = Field("access.log", min_length=1, description="One line per request.")
    error_log_file: str = Field("errors.log", min_length=1, description="Warnings and errors only.")
    log_level: LogLevel = Field("INFO", description="Least severe level that is logged.")
    log_max_bytes: int = Field(10_485_760, ge=1, description="Size at which a log file is rotated.")
    log_backup_count: int = Field(5, ge=1, description="Rotated log files that are kept.")
