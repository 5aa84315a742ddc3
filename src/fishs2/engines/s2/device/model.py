"""A whole model: both ARs, the codec and the tokenizer, loaded from files and ready to run."""

from dataclasses import dataclass
from pathlib import Path

import torch

from fishs2.engines.s2.device.choose_ops import Kernels, choose_ops
from fishs2.engines.s2.device.ops import RowOps
from fishs2.engines.s2.model.codec import Codec
from fishs2.engines.s2.model.fast_ar import FastAr
from fishs2.engines.s2.model.loader import Loader, Progress, WeightsMode, ignore_progress
from fishs2.engines.s2.model.slow_ar import SlowAr
from fishs2.engines.s2.model.step import DualAr
from fishs2.engines.s2.model.tokenizer import Tokenizer, load_tokenizer
from fishs2.engines.s2.weights.beside import codec_config_beside, tokenizer_beside
from fishs2.engines.s2.weights.checkpoint import open_weights
from fishs2.engines.s2.weights.codec_config import codec_config_from_gguf, codec_config_from_json
from fishs2.engines.s2.weights.config import (
    ArConfig,
    CodecConfig,
    ar_config_from_gguf,
    ar_config_from_json,
    read_json_object,
)
from fishs2.engines.s2.weights.tensors import Weights
from fishs2.errors import EngineUnavailableError

_HEAD_DIM_TENSOR = "layers.0.attention.q_norm.weight"


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Where a model lies.

    model: GGUF file or official folder. tokenizer: None looks beside the model. codec_config: JSON
    for a codec of another size than S2 Pro's; None reads the GGUF, or assumes S2 Pro.
    """

    model: Path
    tokenizer: Path | None = None
    codec_config: Path | None = None


@dataclass(frozen=True, slots=True)
class Precision:
    """How the ARs compute. The codec is always dense float32.

    device: as PyTorch names it. dtype: of matrices and caches. mode: packed keeps quantised
    matrices small; plain floats are dense in either mode. kernels: what computes decode steps on an
    NVIDIA card; auto is Triton where it is installed.
    """

    device: str = "cpu"
    dtype: torch.dtype = torch.float32
    mode: WeightsMode = "dense"
    kernels: Kernels = "auto"


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """Everything that speaks. One thread at a time may use it.

    ops: what decode steps are made of where they are captured as graphs, on NVIDIA cards; None
    decodes as the layers say.
    """

    ar: DualAr
    codec: Codec
    tokenizer: Tokenizer
    ops: RowOps | None = None


def load_model(
    files: ModelFiles, precision: Precision, *, on_progress: Progress = ignore_progress
) -> Model:
    """Load all of a model, tensor by tensor. Raises EngineUnavailableError."""
    weights = open_weights(files.model)
    ar_config, codec_config = read_configs(weights, files)
    tokenizer = load_tokenizer(find_tokenizer(files))
    _check_ids(tokenizer, ar_config, codec_config)
    device = open_device(precision.device)
    load = Loader(weights, precision.dtype, precision.mode, device, on_progress)
    slow = SlowAr(ar_config, load, end_id=tokenizer.end_id)
    fast = FastAr(ar_config, load)
    codec = Codec(codec_config, Loader(weights, device=device, on_progress=on_progress))
    weights.check_all_taken(codec=True)
    ops = choose_ops(slow.layers, fast.layers, precision.kernels)
    ar = DualAr(ar_config, slow, fast, tokenizer.end_id, precision.dtype, device)
    return Model(ar, codec, tokenizer, ops)


def load_codec(
    files: ModelFiles, *, device: str = "cpu", on_progress: Progress = ignore_progress
) -> Codec:
    """Load the codec alone. Raises EngineUnavailableError."""
    weights = open_weights(files.model)
    config = _read_codec_config(weights, files)
    return Codec(config, Loader(weights, device=open_device(device), on_progress=on_progress))


def find_tokenizer(files: ModelFiles) -> Path:
    """The tokenizer file that was named, or the one that belongs beside the model."""
    return files.tokenizer or tokenizer_beside(files.model)


def read_configs(weights: Weights, files: ModelFiles) -> tuple[ArConfig, CodecConfig]:
    """Sizes of the ARs and of the codec. Raises EngineUnavailableError."""
    if files.model.is_dir():
        ar_config = ar_config_from_json(weights.metadata, file=weights.file)
    else:
        # No key holds the head size of the slow AR (spec 8).
        norm = weights.tensors.get(_HEAD_DIM_TENSOR)
        if norm is None:
            raise EngineUnavailableError(f"{weights.file} has no tensor {_HEAD_DIM_TENSOR!r}")
        ar_config = ar_config_from_gguf(
            weights.metadata, head_dim=norm.shape[-1], file=weights.file
        )
    return ar_config, _read_codec_config(weights, files)


def _read_codec_config(weights: Weights, files: ModelFiles) -> CodecConfig:
    if (config := files.codec_config or codec_config_beside(files.model)) is not None:
        return codec_config_from_json(read_json_object(config), file=config.name)
    # Without the GGUF's keys every value is that of S2 Pro.
    return codec_config_from_gguf(weights.metadata, file=weights.file)


def _check_ids(tokenizer: Tokenizer, ar: ArConfig, codec: CodecConfig) -> None:
    """Refuse parts that do not belong together."""
    ours = (tokenizer.semantic_begin_id, tokenizer.semantic_end_id)
    theirs = (ar.semantic_begin_id, ar.semantic_end_id)
    if ours != theirs or tokenizer.end_id >= ar.vocab_size:
        raise EngineUnavailableError(
            f"the tokenizer has semantic ids {ours[0]} to {ours[1]}; the model expects "
            f"{theirs[0]} to {theirs[1]}; they are not of one model"
        )
    if (codec.num_codebooks, codec.semantic_codebook_size) != (ar.num_codebooks, ar.codebook_size):
        raise EngineUnavailableError(
            f"the codec has {codec.num_codebooks} codebooks, the first of "
            f"{codec.semantic_codebook_size}; the model expects {ar.num_codebooks} and "
            f"{ar.codebook_size}"
        )


def device_name(device: torch.device) -> str:
    """What people call it."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return str(device)


def is_device_lost(name: str) -> bool:
    """Whether the device of that name has failed such that this process cannot use it again.

    So it is after an illegal access or an error of the driver: every call fails from then on. Lack
    of memory is none of that. Waits for what the card is doing.
    """
    if not name.startswith("cuda") or not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return False
    try:
        torch.cuda.synchronize(name)
    except torch.OutOfMemoryError:
        return False
    except RuntimeError:
        return True
    return False


def open_device(name: str) -> torch.device:
    """The device of that name, once a tensor has been put there. Raises EngineUnavailableError."""
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
        if device.type == "cuda" and device.index is not None:
            torch.cuda.set_device(device)  # of this thread: streams, events and Triton ask for it
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise EngineUnavailableError(
            f"PyTorch cannot use the device {name!r} here; choose cpu, or install a PyTorch that "
            "can"
        ) from error
    return device
