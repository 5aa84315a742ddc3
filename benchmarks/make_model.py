"""Write a random-weight S2 model of any size and type, with its tokenizer and codec config.

    python benchmarks/make_model.py FOLDER --size tiny|small|real --type Q8_0 [--w2-type Q6_K]

Speed, memory and control flow of such a model are those of a trained one; what it says is noise.
Needs the `gguf` package. Quantised blocks are drawn directly, so K types need no quantiser.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import prod, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fishs2.engines.s2.model.codec import Codec
from fishs2.engines.s2.model.fast_ar import FastAr
from fishs2.engines.s2.model.linear import Embedding, Linear
from fishs2.engines.s2.model.loader import Loader
from fishs2.engines.s2.model.slow_ar import SlowAr
from fishs2.engines.s2.weights.config import (
    SEMANTIC_BEGIN_ID,
    SEMANTIC_END_ID,
    ArConfig,
    CodecConfig,
    TransformerConfig,
)
from fishs2.engines.s2.weights.quant import BLOCK_TYPES, BlockType
from fishs2.engines.s2.weights.tensors import Weights

if TYPE_CHECKING:
    import gguf

_META = torch.device("meta")
_SLICE_ELEMENTS = 32 << 20
# What follows the base vocabulary in the real tokenizer, up to the semantic tokens (spec 6).
_PROTOCOL = (
    "pad",
    "phoneme_start",
    "phoneme_end",
    "text",
    "voice",
    "interleave",
    "audio_start",
    "audio_end",
    "audio_pad",
)
_REGEX = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)  # spec 6


@dataclass(frozen=True, slots=True)
class Size:
    """Sizes of one model. end_id: token id of `<|im_end|>`."""

    ar: ArConfig
    codec: CodecConfig
    end_id: int


def _stack(layers: int, dim: int, heads: int, ffn: int, *, is_slow: bool) -> TransformerConfig:
    return TransformerConfig(
        num_layers=layers,
        dim=dim,
        num_heads=heads,
        num_kv_heads=heads // 4,
        head_dim=128 if dim >= 2560 else 64,
        ffn_dim=ffn,
        max_positions=32768 if is_slow else 10,
        rope_base=1e6,
        norm_eps=1e-6,
        has_qk_norm=is_slow,
    )


def _small_codec(dim: int, num_semantic: int) -> CodecConfig:
    real = CodecConfig()

    def shrink(stack: TransformerConfig, num_layers: int) -> TransformerConfig:
        num_heads = dim // stack.head_dim
        return replace(
            stack,
            num_layers=num_layers,
            dim=dim,
            num_heads=num_heads,
            num_kv_heads=num_heads,
            ffn_dim=3 * dim,
        )

    return replace(
        real,
        encoder_dim=dim // 16,
        decoder_dim=3 * dim // 2,
        latent_dim=dim,
        semantic_codebook_size=num_semantic,
        encoder_layers=(0, 0, 0, 1),
        encoder_transformer=shrink(real.encoder_transformer, 1),
        frame_transformer=shrink(real.frame_transformer, 2),
    )


def _small_ar(
    layers: tuple[int, int], dim: int, heads: int, ffn: int, num_codes: int, *, begin_id: int
) -> ArConfig:
    """layers: of the slow and of the fast AR. begin_id: of the semantic tokens, the last ids."""
    return ArConfig(
        _stack(layers[0], dim, heads, ffn, is_slow=True),
        _stack(layers[1], dim, heads, ffn, is_slow=False),
        vocab_size=begin_id + num_codes,
        codebook_size=num_codes,
        num_codebooks=10,
        semantic_begin_id=begin_id,
        semantic_end_id=begin_id + num_codes - 1,
    )


def sizes() -> dict[str, Size]:
    """The sizes that have a name; `real` is S2 Pro."""
    real = ArConfig(
        _stack(36, 2560, 32, 9728, is_slow=True),
        _stack(4, 2560, 32, 9728, is_slow=False),
        vocab_size=155776,
        codebook_size=4096,
        num_codebooks=10,
        semantic_begin_id=SEMANTIC_BEGIN_ID,
        semantic_end_id=SEMANTIC_END_ID,
    )
    tiny = _small_ar((2, 1), 256, 8, 512, 1024, begin_id=512)
    small = _small_ar((8, 2), 768, 12, 2048, 4096, begin_id=1024)
    return {
        "tiny": Size(tiny, _small_codec(128, 1024), end_id=258),
        "small": Size(small, _small_codec(256, 4096), end_id=258),
        "real": Size(real, CodecConfig(), end_id=151645),
    }


@dataclass(frozen=True, slots=True)
class ShapeRecorder(Loader):
    """A loader that notes what the modules ask for and gives them tensors without memory."""

    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def vector(self, name: str, shape: tuple[int, ...]) -> nn.Parameter:
        self.shapes[name] = shape
        return nn.Parameter(torch.empty(shape, device=_META), requires_grad=False)

    def linear(self, name: str, shape: tuple[int, int]) -> Linear:
        return Linear(self.vector(name, shape))

    def embedding(self, name: str, shape: tuple[int, int]) -> Embedding:
        return Embedding(self.vector(name, shape))


def list_shapes(size: Size) -> dict[str, tuple[int, ...]]:
    """Name and torch shape of every tensor of a model."""
    recorder = ShapeRecorder(Weights("shapes", {}, {}), device=_META)
    SlowAr(size.ar, recorder, end_id=size.end_id)
    FastAr(size.ar, recorder)
    Codec(size.codec, recorder)
    return recorder.shapes


def random_blocks(
    block: BlockType, shape: tuple[int, int], *, std: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Rows of random blocks whose values have mean 0 and about the given deviation."""
    num_blocks = prod(shape) // block.num_elements
    raw = np.frombuffer(rng.bytes(num_blocks * block.num_bytes), np.uint8).copy()
    raw = raw.reshape(num_blocks, block.num_bytes)
    # (byte of d, deviation of scale * q, byte of dmin, mean of q that dmin * m takes away)
    layout: dict[str, tuple[int, float, int | None, float]] = {
        "Q8_0": (0, 74, None, 0),
        "Q4_0": (0, 4.6, None, 0),
        "Q5_0": (0, 9.2, None, 0),
        "Q6_K": (208, 1365, None, 0),
        "Q3_K": (108, 42, None, 0),
        "Q4_K": (0, 260, 2, 7.5),
        "Q5_K": (0, 530, 2, 15.5),
        "Q2_K": (80, 14, 82, 1.5),
    }
    d_at, spread, dmin_at, mean = layout[block.name]
    scale = np.array([std / spread], np.float16)
    raw[:, d_at : d_at + 2] = scale.view(np.uint8)
    if dmin_at is not None:
        raw[:, dmin_at : dmin_at + 2] = (scale * np.float16(mean)).view(np.uint8)
    return raw.reshape(shape[0], -1)


def random_floats(
    name: str, shape: tuple[int, ...], *, rng: np.random.Generator
) -> NDArray[np.float32]:
    """A norm, bias, activation or convolution such that signals keep their size."""
    if name.endswith((".bias", "norm.bias")):
        return np.zeros(shape, np.float32)
    if "norm" in name or name.endswith("alpha"):
        return np.ones(shape, np.float32)
    if name.endswith("gamma"):
        return np.full(shape, 0.1, np.float32)
    fan_in = prod(shape[1:]) or 1
    return rng.standard_normal(shape, np.float32) / np.float32(sqrt(fan_in))


def _pieces(
    name: str, shape: tuple[int, ...], block: BlockType, rng: np.random.Generator
) -> Iterator[NDArray[Any]]:
    """The tensor as it lies in the file, in slices of rows."""
    step = max(1, _SLICE_ELEMENTS // max(1, prod(shape[1:])))
    for start in range(0, shape[0], step):
        part = (min(step, shape[0] - start), *shape[1:])
        if block.unpack is not None:
            # Tied head: logits with a deviation of 3 from hidden states of norm sqrt(D).
            std = (3.0 if name.startswith("embeddings") else 1.0) / sqrt(shape[-1])
            yield random_blocks(block, (part[0], shape[-1]), std=std, rng=rng)
        else:
            values = torch.from_numpy(random_floats(name, part, rng=rng))
            assert block.dtype is not None
            yield values.to(block.dtype).contiguous().view(torch.uint8).numpy()


def write_gguf(path: Path, size: Size, kind: str, *, w2_kind: str | None, seed: int) -> None:
    """Write the model file. kind: type of AR matrices; w2_kind: another one for `w2`."""
    import gguf  # only files need it: models that are made on a card have none

    blocks = {block.name: (number, block) for number, block in BLOCK_TYPES.items()}
    rng = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, "fish-speech")
    _add_metadata(writer, size)
    shapes = list_shapes(size)
    chosen: dict[str, BlockType] = {}
    for name, shape in shapes.items():
        is_matrix = len(shape) == 2 and not name.startswith("c.")
        wanted = (w2_kind if name.endswith("w2.weight") and w2_kind else kind) if is_matrix else ""
        number, block = blocks[wanted or ("F32" if kind == "F32" else "F16")]
        chosen[name] = block
        row_bytes = shape[-1] // block.num_elements * block.num_bytes
        writer.add_tensor_info(
            name,
            (*shape[:-1], row_bytes),
            np.dtype(np.uint8),
            prod(shape[:-1]) * row_bytes,
            raw_dtype=gguf.GGMLQuantizationType(number),
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    assert writer.fout is not None
    (file,) = writer.fout
    for name, block in chosen.items():
        writer.write_padding(file, file.tell())
        for piece in _pieces(name, shapes[name], block, rng):
            file.write(piece.data)
        writer.write_padding(file, file.tell())
    writer.close()


def _add_metadata(writer: "gguf.GGUFWriter", size: Size) -> None:
    slow, fast, ar = size.ar.slow, size.ar.fast, size.ar
    for key, value in (
        ("fish-speech.context_length", slow.max_positions),
        ("fish-speech.embedding_length", slow.dim),
        ("fish-speech.feed_forward_length", slow.ffn_dim),
        ("fish-speech.block_count", slow.num_layers),
        ("fish-speech.attention.head_count", slow.num_heads),
        ("fish-speech.attention.head_count_kv", slow.num_kv_heads),
        ("fish-speech.vocab_size", ar.vocab_size),
        ("fish_speech.codebook_size", ar.codebook_size),
        ("fish_speech.num_codebooks", ar.num_codebooks),
        ("fish_speech.semantic_begin_id", ar.semantic_begin_id),
        ("fish_speech.semantic_end_id", ar.semantic_end_id),
        ("fish_speech.fast_embedding_length", fast.dim),
        ("fish_speech.fast_feed_forward_length", fast.ffn_dim),
        ("fish_speech.fast_block_count", fast.num_layers),
        ("fish_speech.fast_head_count", fast.num_heads),
        ("fish_speech.fast_head_count_kv", fast.num_kv_heads),
        ("fish_speech.fast_head_dim", fast.head_dim),
    ):
        writer.add_uint32(key, value)
    writer.add_string("general.name", "Random weights in the shape of Fish Audio S2")


def codec_json(codec: CodecConfig) -> dict[str, object]:
    """The codec's sizes in the form that `--codec-config` reads."""
    frame, encoder = codec.frame_transformer, codec.encoder_transformer
    return {
        "sample_rate": codec.sample_rate_hz,
        "encoder_dim": codec.encoder_dim,
        "encoder_rates": codec.encoder_rates,
        "encoder_transformer_layers": codec.encoder_layers,
        "decoder_dim": codec.decoder_dim,
        "decoder_rates": codec.decoder_rates,
        "latent_dim": codec.latent_dim,
        "quantizer": {
            "n_codebooks": codec.num_residual_codebooks,
            "codebook_size": codec.residual_codebook_size,
            "codebook_dim": codec.codebook_dim,
            "semantic_codebook_size": codec.semantic_codebook_size,
            "downsample_factor": codec.downsample_factors,
            "transformer": {
                "n_layer": frame.num_layers,
                "n_head": frame.num_heads,
                "dim": frame.dim,
                "intermediate_size": frame.ffn_dim,
                "head_dim": frame.head_dim,
                "window_size": frame.window,
            },
        },
        "encoder_transformer": {
            "head_dim": encoder.head_dim,
            "window_size": encoder.window,
            "intermediate_mult": encoder.ffn_dim // encoder.dim,
        },
    }


def tokenizer_json(size: Size) -> dict[str, object]:
    """A byte-level tokenizer without merges, with every protocol token at its id."""
    # GPT-2's byte alphabet: printable bytes stand for themselves, others from 256 on.
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in printable]
    letters = [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(rest))]
    vocab = {letter: index for index, letter in enumerate(letters)}
    begin = size.ar.semantic_begin_id
    special = {
        "<|endoftext|>": size.end_id - 2,
        "<|im_start|>": size.end_id - 1,
        "<|im_end|>": size.end_id,
        **{f"<|{name}|>": begin - len(_PROTOCOL) + i for i, name in enumerate(_PROTOCOL)},
        **{f"<|semantic:{code}|>": begin + code for code in range(size.ar.codebook_size)},
    }
    split = {"type": "Split", "pattern": {"Regex": _REGEX}, "behavior": "Isolated", "invert": False}
    to_bytes = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": False,
    }
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": number, "content": content, **flags, "special": True}
            for content, number in sorted(special.items(), key=lambda item: item[1])
        ],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, to_bytes]},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "BPE", "vocab": {**vocab, **special}, "merges": []},
    }


def make_model(
    folder: Path, size: Size, kind: str, *, w2_kind: str | None = None, seed: int = 0
) -> Path:
    """Write model.gguf, tokenizer.json and codec.json into `folder`. Returns the model's path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_json(size)), encoding="utf-8")
    (folder / "codec.json").write_text(json.dumps(codec_json(size.codec)), encoding="utf-8")
    path = folder / "model.gguf"
    write_gguf(path, size, kind, w2_kind=w2_kind, seed=seed)
    return path


def main() -> None:
    """Read the command line and write the model."""
    kinds = [block.name for block in BLOCK_TYPES.values()]
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", choices=sizes(), default="tiny")
    parser.add_argument("--type", choices=kinds, default="Q8_0")
    parser.add_argument("--w2-type", choices=kinds, help="another type for the down projections")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    path = make_model(
        asked.folder, sizes()[asked.size], asked.type, w2_kind=asked.w2_type, seed=asked.seed
    )
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
