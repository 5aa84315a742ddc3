"""Opens a model: a GGUF file, or the official folder under the names of the GGUF.

Official weights keep weight norm apart as gain and direction; they are folded here (spec 7.1, 8.2).
"""

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from fishs2.engines.s2.weights.config import read_json_object
from fishs2.engines.s2.weights.gguf import check_architecture, read_gguf_header
from fishs2.engines.s2.weights.quant import BF16, BLOCK_TYPES, F8, F16, F32, dequantise
from fishs2.engines.s2.weights.safetensors import is_buffer, open_safetensors, unknown_type
from fishs2.engines.s2.weights.tensors import (
    StoredTensor,
    Weights,
    read_dense,
    stored_in_file,
    stored_in_memory,
)
from fishs2.errors import EngineUnavailableError

_TORCH_TYPES = {each.dtype: each for each in (F32, F16, BF16, F8)}
_SCALE_ENDINGS = (("", ".scale"), (".weight", ".weight_scale"), (".weight", ".scale_weight"))
"""How the scale of an 8-bit matrix is called: an ending of its name, and what stands instead."""
_OFFICIAL_PREFIXES = (
    ("text_model.model.", ""),
    ("audio_decoder.codebook_embeddings.", "codebook_embeddings."),
    ("audio_decoder.", "fast_"),
    ("generator.", "c."),
    ("", "c."),
)
_WEIGHT_NORM_ENDINGS = (
    (".parametrizations.weight.original0", ".parametrizations.weight.original1"),
    (".weight_g", ".weight_v"),
)


def open_weights(path: Path) -> Weights:
    """Open a GGUF file, a safetensors file or the official checkpoint folder at `path`.

    Raises EngineUnavailableError for anything that is not an S2 Pro model.
    """
    if path.is_dir():
        return _open_folder(path)
    if path.suffix == ".safetensors":
        return Weights(path.name, _join_projections(_rename_official(open_safetensors(path))), {})
    header = read_gguf_header(path)
    found = check_architecture(header)
    # A stand-alone codec file has the names without the prefix (spec 8).
    prefix = "c." if found == "fish-speech-codec" else ""
    tensors = {
        f"{prefix}{entry.name}": stored_in_file(
            path,
            entry.name,
            shape=entry.shape,
            kind=BLOCK_TYPES[entry.kind],
            offset_bytes=entry.offset_bytes,
        )
        for entry in header.tensors.values()
    }
    return Weights(path.name, _join_projections(tensors), header.metadata)


def _open_folder(path: Path) -> Weights:
    """The official layout: config.json, model*.safetensors and, beside them, codec.pth."""
    config = read_json_object(path / "config.json")
    shards = sorted(path.glob("model*.safetensors"))
    if not shards:
        raise EngineUnavailableError(f"{path.name} has no model*.safetensors file")
    official: dict[str, StoredTensor] = {}
    for shard in shards:
        tensors = open_safetensors(shard)
        twice = official.keys() & tensors.keys()
        if twice:
            raise EngineUnavailableError(f"{shard.name} repeats tensor {min(twice)!r}")
        official.update(tensors)
    if (path / "codec.safetensors").exists():
        official.update(open_safetensors(path / "codec.safetensors"))
    elif (path / "codec.pth").exists():
        official.update(_open_pickle(path / "codec.pth"))
    return Weights(path.name, _join_projections(_rename_official(official)), config)


def _open_pickle(path: Path) -> dict[str, StoredTensor]:
    try:
        # weights_only: nothing but tensors and plain containers is built from the file.
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise EngineUnavailableError(f"{path.name} is not a readable PyTorch file") from error
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict):
        raise EngineUnavailableError(f"{path.name} holds no table of tensors")
    tensors: dict[str, StoredTensor] = {}
    for key, value in loaded.items():
        name = str(key)
        if not isinstance(value, Tensor) or is_buffer(name):
            continue
        kind = _TORCH_TYPES.get(value.dtype)
        if kind is None:
            raise unknown_type(path, name, str(value.dtype).removeprefix("torch."))
        tensors[name] = stored_in_memory(name, value, kind)
    return tensors


def _scale_bytes(official: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """8-bit floats multiplied by the scales beside them; as they are, where they have none."""
    scaled = dict(official)
    for name, stored in official.items():
        if stored.type is not F8:
            continue
        names = [
            name.removesuffix(ending) + scale_ending
            for ending, scale_ending in _SCALE_ENDINGS
            if name.endswith(ending)
        ]
        found = next((each for each in names if each in scaled), None)
        if found is not None:
            scaled[name] = _multiply_rows(stored, scaled.pop(found))
    return scaled


def _multiply_rows(stored: StoredTensor, scale: StoredTensor) -> StoredTensor:
    """Each row times its number, or all times one."""
    factors = read_dense(scale, torch.float32).flatten()
    if len(factors) not in (1, stored.num_rows):
        raise EngineUnavailableError(
            f"tensor {scale.name!r} has {len(factors)} scales for {stored.num_rows} rows of "
            f"{stored.name!r}; expected one for each row, or one for all"
        )
    factors = factors.expand(stored.num_rows)[:, None]

    def read_rows(start: int, stop: int) -> Tensor:
        values = dequantise(stored.read_rows(start, stop), stored.type).float()
        raw: Tensor = (values * factors[start:stop]).view(torch.uint8)
        return raw

    return StoredTensor(stored.name, stored.shape, F32, read_rows)


def _rename_official(official: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Official names to those of the GGUF, scales and weight norm folded."""
    official = _scale_bytes(official)
    renamed: dict[str, StoredTensor] = {}
    for name, stored in official.items():
        plain, folded = name, stored
        for gain_ending, direction_ending in _WEIGHT_NORM_ENDINGS:
            if name.endswith(direction_ending):
                break
            if name.endswith(gain_ending):
                stem = name.removesuffix(gain_ending)
                direction = official.get(stem + direction_ending)
                if direction is None:
                    raise EngineUnavailableError(
                        f"tensor {name!r} has no {stem + direction_ending!r} beside it"
                    )
                plain, folded = f"{stem}.weight", _fold_weight_norm(stored, direction)
        else:
            renamed[_gguf_name(plain)] = folded
    return renamed


def _join_projections(tensors: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Older checkpoints keep queries, keys and values apart; ours is one matrix (spec 2.2)."""
    joined = dict(tensors)
    for name in tensors:
        if not name.endswith(".attention.wq.weight"):
            continue
        stem = name.removesuffix("q.weight")
        parts = [joined.pop(f"{stem}{part}.weight", None) for part in "qkv"]
        q, k, v = parts
        if q is None or k is None or v is None:
            raise EngineUnavailableError(f"tensor {name!r} has no {stem}k and {stem}v beside it")
        joined[f"{stem}qkv.weight"] = _join_rows((q, k, v))
    return joined


def _join_rows(parts: tuple[StoredTensor, ...]) -> StoredTensor:
    first = parts[0]
    if any(part.type != first.type or part.shape[1:] != first.shape[1:] for part in parts):
        raise EngineUnavailableError(
            f"tensor {first.name!r} and those beside it differ in type or width"
        )

    def read_rows(start: int, stop: int) -> Tensor:
        pieces, begin = [], 0
        for part in parts:
            low, high = max(start - begin, 0), min(stop - begin, part.num_rows)
            if low < high:
                pieces.append(part.read_rows(low, high))
            begin += part.num_rows
        return torch.cat(pieces)

    num_rows = sum(part.num_rows for part in parts)
    return StoredTensor(first.name, (num_rows, *first.shape[1:]), first.type, read_rows)


def _fold_weight_norm(gain: StoredTensor, direction: StoredTensor) -> StoredTensor:
    """direction * gain / |direction|, the norm over all but the first dimension."""

    def read_rows(start: int, stop: int) -> Tensor:
        v = dequantise(direction.read_rows(start, stop), direction.type).float()  # [rows, rest]
        g = dequantise(gain.read_rows(start, stop), gain.type).float()  # [rows, 1]
        folded = v * (g / v.norm(dim=1, keepdim=True))
        raw: Tensor = folded.contiguous().view(torch.uint8)
        return raw

    return StoredTensor(direction.name, direction.shape, F32, read_rows)


def _gguf_name(official: str) -> str:
    for prefix, replacement in _OFFICIAL_PREFIXES:
        if official.startswith(prefix):
            return replacement + official.removeprefix(prefix)
    raise AssertionError("the empty prefix fits every name")
