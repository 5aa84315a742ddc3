"""What `fishs2 s2 …` does, without the command line: plain values in, numpy and numbers out.

`cli.s2` is the only caller; it reads options and files and shows the results.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from fishs2.engines.base import Pcm, Reference
from fishs2.engines.s2.device.model import (
    Model,
    ModelFiles,
    Precision,
    load_codec,
    load_model,
    read_configs,
)
from fishs2.engines.s2.engine.references import ReferenceCache
from fishs2.engines.s2.model.codec import PIECE_FRAMES, Codec, decode_frames
from fishs2.engines.s2.model.generate import generate_frames
from fishs2.engines.s2.model.loader import Progress, ignore_progress
from fishs2.engines.s2.model.params import GenerateParams
from fishs2.engines.s2.model.prompt import Codes, EncodedReference, Turn, build_prompt, split_text
from fishs2.engines.s2.weights.checkpoint import open_weights
from fishs2.engines.s2.weights.inspection import ModelReport, describe_model
from fishs2.errors import UserError

DtypeName = Literal["f32", "f16", "bf16"]
DTYPES: dict[DtypeName, torch.dtype] = {
    "f32": torch.float32,
    "f16": torch.float16,
    "bf16": torch.bfloat16,
}
# UTF-8 bytes per batch: the default of the official command line (spec 4.4).
_BATCH_BYTES = 300


def inspect_model(files: ModelFiles) -> ModelReport:
    """Describe a model without loading its weights. Raises EngineUnavailableError."""
    weights = open_weights(files.model)
    slow = read_configs(weights, files)[0].slow
    return describe_model(weights.metadata, weights.tensors, slow)


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
