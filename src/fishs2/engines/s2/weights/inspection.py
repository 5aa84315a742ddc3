"""What is in a model file and what it needs, from its header alone; no torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Protocol

from fishs2.engines.s2.weights.beside import codec_config_beside
from fishs2.engines.s2.weights.block_sizes import BLOCK_SIZES
from fishs2.engines.s2.weights.codec_config import codec_config_from_gguf, codec_config_from_json
from fishs2.engines.s2.weights.config import (
    TransformerConfig,
    ar_config_from_gguf,
    read_json_object,
)
from fishs2.engines.s2.weights.gguf import check_architecture, read_gguf_header
from fishs2.errors import EngineUnavailableError

_PARTS = (
    ("slow layers", "layers."),
    ("text table", "embeddings."),
    ("code table", "codebook_embeddings."),
    ("fast AR", "fast_"),
    ("codec encoder", "c.encoder.", "c.quantizer.downsample.", "c.quantizer.pre_module."),
    ("codec decoder", "c.decoder.", "c.quantizer.upsample.", "c.quantizer.post_module."),
    ("codebooks", "c.quantizer."),
    ("final norm", "norm."),
)

_HEAD_DIM_TENSOR = "layers.0.attention.q_norm.weight"
_PACKED_BYTES = {size.name: size.packed_bytes / size.num_elements for size in BLOCK_SIZES.values()}


class _Type(Protocol):
    @property
    def name(self) -> str: ...


class _Tensor(Protocol):
    """A tensor of a file, of which nothing has been read."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def num_bytes(self) -> int: ...
    @property
    def type(self) -> _Type: ...


@dataclass(frozen=True, slots=True)
class PartReport:
    """One part of a model file. types: tensors per type name."""

    name: str
    num_tensors: int
    num_params: int
    num_bytes: int
    types: dict[str, int]


@dataclass(frozen=True, slots=True)
class ModelReport:
    """What is in a model file and what it needs.

    memory_bytes: weights in memory by way of keeping them. kv_bytes: per position, float16.
    """

    metadata: dict[str, object]
    parts: tuple[PartReport, ...]
    memory_bytes: dict[str, int]
    kv_bytes: int


def inspect_gguf(path: Path, codec_config: Path | None) -> ModelReport:
    """Describe a GGUF file. Raises EngineUnavailableError for one that is no S2 Pro model."""
    header = read_gguf_header(path)
    check_architecture(header)
    norm = header.tensors.get(_HEAD_DIM_TENSOR)
    if norm is None:
        raise EngineUnavailableError(f"{path.name} has no tensor {_HEAD_DIM_TENSOR!r}")
    config = ar_config_from_gguf(header.metadata, head_dim=norm.shape[-1], file=path.name)
    if (sizes := codec_config or codec_config_beside(path)) is None:
        codec_config_from_gguf(header.metadata, file=path.name)
    else:
        codec_config_from_json(read_json_object(sizes), file=sizes.name)
    return describe_model(header.metadata, header.tensors, config.slow)


def describe_model(
    metadata: Mapping[str, object], tensors: Mapping[str, _Tensor], slow: TransformerConfig
) -> ModelReport:
    """Add up the tensors of a model."""
    parts: dict[str, list[_Tensor]] = {name: [] for name, *_ in _PARTS}
    for name, tensor in tensors.items():
        part = next((part for part, *starts in _PARTS if name.startswith(tuple(starts))), None)
        parts.setdefault(part or "unknown", []).append(tensor)
    return ModelReport(
        metadata=dict(metadata),
        parts=tuple(_report_part(name, found) for name, found in parts.items() if found),
        memory_bytes={
            "dense f32": _memory_bytes(tensors, lambda _: 4),
            "dense bf16": _memory_bytes(tensors, lambda _: 2),
            "packed bf16": _memory_bytes(tensors, lambda kind: _PACKED_BYTES.get(kind, 2)),
        },
        kv_bytes=2 * slow.num_layers * slow.num_kv_heads * slow.head_dim * 2,
    )


def _report_part(name: str, tensors: Sequence[_Tensor]) -> PartReport:
    kinds = [tensor.type.name for tensor in tensors]
    return PartReport(
        name=name,
        num_tensors=len(tensors),
        num_params=sum(prod(tensor.shape) for tensor in tensors),
        num_bytes=sum(tensor.num_bytes for tensor in tensors),
        types={kind: kinds.count(kind) for kind in sorted(set(kinds))},
    )


def _memory_bytes(tensors: Mapping[str, _Tensor], matrix_bytes: Callable[[str], float]) -> int:
    """Bytes of all weights: matrices of the ARs as asked, everything else float32."""
    total = 0.0
    for name, tensor in tensors.items():
        is_matrix = len(tensor.shape) == 2 and not name.startswith("c.")
        total += prod(tensor.shape) * (matrix_bytes(tensor.type.name) if is_matrix else 4)
    return round(total)
