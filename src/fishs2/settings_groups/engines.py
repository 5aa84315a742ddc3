"""Settings of what speaks, and of its files."""

from pathlib import Path

from pydantic import Field

from fishs2.settings_groups.home import HomeSettings
from fishs2.settings_values import (
    Backend,
    BaseUrl,
    EngineName,
    HomePath,
    HttpUrl,
    Kernels,
    ModelQuant,
    PathList,
    Sha256,
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
