"""What `fishs2 s2 …` does, without the command line: plain values in, numpy and numbers out.

`cli.s2` is the only caller; it reads options and files and shows the results.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np
import torch

from fishs2.engines.base import Pcm, Reference
from fishs2.engines.s2.checkpoint import open_weights
from fishs2.engines.s2.codec import PIECE_FRAMES, Codec, decode_frames
from fishs2.engines.s2.generate import generate_frames
from fishs2.engines.s2.loading import Progress, ignore_progress
from fishs2.engines.s2.model import (
    Model,
    ModelFiles,
    Precision,
    load_codec,
    load_model,
    read_configs,
)
from fishs2.engines.s2.params import GenerateParams
from fishs2.engines.s2.prompt import Codes, EncodedReference, Turn, build_prompt, split_text
from fishs2.engines.s2.quant import BlockType, repack
from fishs2.engines.s2.references import ReferenceCache
from fishs2.engines.s2.tensors import StoredTensor
from fishs2.errors import UserError

DtypeName = Literal["f32", "f16", "bf16"]
DTYPES: dict[DtypeName, torch.dtype] = {
    "f32": torch.float32,
    "f16": torch.float16,
    "bf16": torch.bfloat16,
}
# UTF-8 bytes per batch: the default of the official command line (spec 4.4).
_BATCH_BYTES = 300
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


def inspect_model(files: ModelFiles) -> ModelReport:
    """Describe a model without loading its weights. Raises EngineUnavailableError."""
    weights = open_weights(files.model)
    parts: dict[str, list[StoredTensor]] = {name: [] for name, *_ in _PARTS}
    for name, stored in weights.tensors.items():
        part = next((part for part, *starts in _PARTS if name.startswith(tuple(starts))), None)
        parts.setdefault(part or "unknown", []).append(stored)
    slow = read_configs(weights, files)[0].slow
    return ModelReport(
        metadata=dict(weights.metadata),
        parts=tuple(_report_part(name, stored) for name, stored in parts.items() if stored),
        memory_bytes={
            "dense f32": _memory_bytes(weights.tensors, lambda _: 4),
            "dense bf16": _memory_bytes(weights.tensors, lambda _: 2),
            "packed bf16": _memory_bytes(weights.tensors, _packed_bytes),
        },
        kv_bytes=2 * slow.num_layers * slow.num_kv_heads * slow.head_dim * 2,
    )


def _report_part(name: str, tensors: list[StoredTensor]) -> PartReport:
    kinds = [stored.type.name for stored in tensors]
    return PartReport(
        name=name,
        num_tensors=len(tensors),
        num_params=sum(prod(stored.shape) for stored in tensors),
        num_bytes=sum(stored.num_bytes for stored in tensors),
        types={kind: kinds.count(kind) for kind in sorted(set(kinds))},
    )


def _memory_bytes(
    tensors: Mapping[str, StoredTensor], matrix_bytes: Callable[[BlockType], float]
) -> int:
    """Bytes of all weights: matrices of the ARs as asked, everything else float32."""
    total = 0.0
    for name, stored in tensors.items():
        is_matrix = len(stored.shape) == 2 and not name.startswith("c.")
        total += prod(stored.shape) * (matrix_bytes(stored.type) if is_matrix else 4)
    return round(total)


def _packed_bytes(block: BlockType) -> float:
    """Bytes per value in our layouts."""
    if block.unpack is None:
        return 2
    one = repack(torch.zeros(1, block.num_bytes, dtype=torch.uint8), block)
    return one.num_bytes / block.num_elements


@dataclass(frozen=True, slots=True, eq=False)
class Spoken:
    """What `generate` made. codes: int32 [K, T]. pcm: float32 [2048 T] at `sample_rate_hz`."""

    codes: Codes
    pcm: Pcm
    sample_rate_hz: int


def generate(
    files: ModelFiles,
    precision: Precision,
    text: str,
    *,
    references: Sequence[Reference | EncodedReference] = (),
    params: GenerateParams,
    on_progress: Progress = ignore_progress,
) -> Spoken:
    """Speak `text` of any length: batch after batch with the earlier ones as context."""
    model = load_model(files, precision, on_progress=on_progress)
    with torch.inference_mode():
        codes = _generate_codes(model, text, references, params)
        pcm = _decode(model.codec, codes, piece_frames=PIECE_FRAMES)
    return Spoken(codes, pcm, model.codec.config.sample_rate_hz)


def _generate_codes(
    model: Model,
    text: str,
    references: Sequence[Reference | EncodedReference],
    params: GenerateParams,
) -> Codes:
    cache = ReferenceCache(model.codec)
    shown = [cache.encode(each) if isinstance(each, Reference) else each for each in references]
    num_codebooks = model.ar.config.num_codebooks
    for each in shown:
        _check_codes(each.codes, num_codebooks)
    turns: list[Turn] = []
    for batch in split_text(text, max_bytes=_BATCH_BYTES):
        prompt = build_prompt(
            model.tokenizer, batch, references=shown, history=turns, num_codebooks=num_codebooks
        )
        frames = list(generate_frames(model.ar, prompt, params))
        empty = np.zeros((num_codebooks, 0), np.int32)
        turns.append(Turn(batch, np.stack(frames, axis=1)[1:] if frames else empty))
    if not any(turn.codes.size for turn in turns):
        raise UserError("the model made no sound of this text", code="no_speech", param="text")
    return np.concatenate([turn.codes for turn in turns], axis=1)


def encode(files: ModelFiles, reference: Reference, *, device: str = "cpu") -> Codes:
    """Codes of a recording, int32 [K, T]."""
    with torch.inference_mode():
        codec = load_codec(files, device=device)
        return ReferenceCache(codec).encode(reference).codes


def decode(
    files: ModelFiles, codes: Codes, *, device: str = "cpu", piece_frames: int = PIECE_FRAMES
) -> Spoken:
    """The sound of codes int32 [K, T], decoded `piece_frames` at a time."""
    with torch.inference_mode():
        codec = load_codec(files, device=device)
        _check_codes(codes, codec.config.num_codebooks)
        pcm = _decode(codec, codes, piece_frames=piece_frames)
    return Spoken(codes, pcm, codec.config.sample_rate_hz)


def _decode(codec: Codec, codes: Codes, *, piece_frames: int) -> Pcm:
    frames = torch.from_numpy(codes.copy()).long().to(codec.device)
    pcm: Pcm = decode_frames(codec, frames, piece_frames=piece_frames).cpu().numpy()
    return pcm


def _check_codes(codes: Codes, num_codebooks: int) -> None:
    is_matrix = codes.ndim == 2 and codes.dtype.kind in "iu"
    if not is_matrix or codes.shape[0] != num_codebooks or not codes.shape[1]:
        raise UserError(
            f"the codes are {codes.dtype} {list(codes.shape)}; expected integers "
            f"[{num_codebooks}, T] with T of at least 1",
            code="invalid_codes",
            param="codes",
        )
