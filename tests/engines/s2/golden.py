"""Where the goldens lie and how tests read them; their origin is in tests/golden/s2/README.md."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fishs2.engines.s2.device.model import Model, ModelFiles, Precision, load_model
from fishs2.engines.s2.model.codec import Codec
from fishs2.engines.s2.model.fast_ar import FastAr
from fishs2.engines.s2.model.loader import CPU, Loader, WeightsMode
from fishs2.engines.s2.model.slow_ar import SlowAr
from fishs2.engines.s2.model.step import DualAr
from fishs2.engines.s2.weights.checkpoint import open_weights
from fishs2.engines.s2.weights.codec_config import codec_config_from_json
from fishs2.engines.s2.weights.config import (
    ar_config_from_gguf,
    ar_config_from_json,
    read_json_object,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "s2"
MODEL_FILE = GOLDEN / "tiny-f16.gguf"
MODEL_FOLDER = GOLDEN / "lm_tiny"
CODEC_FILE = GOLDEN / "codec_tiny" / "codec.safetensors"
CODEC_CONFIG = GOLDEN / "codec.json"
TOKENIZER_FILE = MODEL_FOLDER / "tokenizer.json"


@cache
def arrays(name: str) -> dict[str, np.ndarray]:
    """The arrays of a golden file, shared: nobody writes into them."""
    with np.load(GOLDEN / f"{name}.npz") as file:
        return dict(file)


def cases(name: str) -> Any:
    """The content of a golden JSON file."""
    return json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))


def load_ar(
    path: Path = MODEL_FOLDER,
    *,
    dtype: torch.dtype = torch.float32,
    mode: WeightsMode = "dense",
    device: torch.device = CPU,
) -> DualAr:
    """Both ARs of a golden model."""
    weights = open_weights(path)
    if path.is_dir():
        config = ar_config_from_json(weights.metadata, file=weights.file)
    else:
        config = ar_config_from_gguf(weights.metadata, head_dim=16, file=weights.file)
    load = Loader(weights, dtype=dtype, mode=mode, device=device)
    slow, fast = SlowAr(config, load, end_id=502), FastAr(config, load)
    weights.check_all_taken(codec=False)
    return DualAr(config, slow, fast, 502, dtype, device)


def load_codec(device: torch.device = CPU) -> Codec:
    """The golden codec."""
    weights = open_weights(CODEC_FILE)
    config = codec_config_from_json(read_json_object(CODEC_CONFIG), file=CODEC_CONFIG.name)
    codec = Codec(config, Loader(weights, device=device))
    weights.check_all_taken(codec=True)
    return codec


MODEL_FILES = ModelFiles(MODEL_FILE, TOKENIZER_FILE, CODEC_CONFIG)


def load_golden_model(mode: WeightsMode = "dense") -> Model:
    """The golden GGUF, whole."""
    return load_model(MODEL_FILES, Precision(mode=mode))
