"""Sizes of an S2 model: of the slow AR, the fast AR and the codec.

Read from GGUF metadata or from the official `config.json`; every key has the value of S2 Pro as its
default, because published files leave some out (spec 8). Weights are not read here.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from fishs2.errors import EngineUnavailableError

SEMANTIC_BEGIN_ID = 151678  # spec 1.1, `semantic_start_token_id`
SEMANTIC_END_ID = 155773  # inclusive


@dataclass(frozen=True, slots=True)
class TransformerConfig:
    """Sizes of one stack of blocks.

    window: how many positions a query sees, itself included; None sees all before it.
    max_positions: rows of the RoPE table.
    """

    num_layers: int
    dim: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    ffn_dim: int
    max_positions: int
    rope_base: float
    norm_eps: float
    has_qk_norm: bool = False
    window: int | None = None


@dataclass(frozen=True, slots=True)
class ArConfig:
    """Sizes of the slow and the fast AR and the ids that join them.

    codebook_size: rows of the fast tables and stride of the slow codebook table, also for residual
    codebooks that have fewer codes (spec 2.2).
    """

    slow: TransformerConfig
    fast: TransformerConfig
    vocab_size: int
    codebook_size: int
    num_codebooks: int
    semantic_begin_id: int
    semantic_end_id: int


@dataclass(frozen=True, slots=True)
class CodecConfig:
    """Sizes of the codec; the defaults are those of S2 Pro (spec 1.2, 7)."""

    sample_rate_hz: int = 44100
    encoder_dim: int = 64
    encoder_rates: tuple[int, ...] = (2, 4, 8, 8)
    encoder_layers: tuple[int, ...] = (0, 0, 0, 4)
    decoder_dim: int = 1536
    decoder_rates: tuple[int, ...] = (8, 8, 4, 2)
    latent_dim: int = 1024
    downsample_factors: tuple[int, ...] = (2, 2)
    codebook_dim: int = 8
    semantic_codebook_size: int = 4096
    residual_codebook_size: int = 1024
    num_residual_codebooks: int = 9
    encoder_transformer: TransformerConfig = TransformerConfig(
        4, 1024, 16, 16, 64, 3072, max_positions=8192, rope_base=1e4, norm_eps=1e-5, window=512
    )
    frame_transformer: TransformerConfig = TransformerConfig(
        8, 1024, 16, 16, 64, 3072, max_positions=32768, rope_base=1e4, norm_eps=1e-5, window=128
    )

    @property
    def samples_per_latent(self) -> int:
        return prod(self.encoder_rates)

    @property
    def samples_per_frame(self) -> int:
        return self.samples_per_latent * prod(self.downsample_factors)

    @property
    def num_codebooks(self) -> int:
        return 1 + self.num_residual_codebooks


class Fields:
    """Typed access to metadata that somebody else wrote.

    file: the name for error messages. A key that is absent gives the default.
    """

    def __init__(self, values: Mapping[str, object], *, file: str) -> None:
        self._values = values
        self._file = file

    def whole(self, key: str, default: int) -> int:
        """An integer of any width."""
        value = self._values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > 1 << 31:
            raise self.wrong(key, value, "an integer below 2^31")
        return value

    def positive(self, key: str, default: int) -> int:
        """An integer of at least 1."""
        value = self.whole(key, default)
        if value < 1:
            raise self.wrong(key, value, "an integer of at least 1")
        return value

    def real(self, key: str, default: float) -> float:
        """A positive number."""
        value = self._values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e12:
            raise self.wrong(key, value, "a positive number")
        return float(value)

    def flag(self, key: str, *, required: bool) -> None:
        """Refuse a file in which `key` is present and differs from `required`."""
        value = self._values.get(key, required)
        if value is not required:
            raise self.wrong(key, value, str(required).lower())

    def choice(self, key: str, *, default: bool) -> bool:
        """A boolean."""
        value = self._values.get(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, value, "true or false")
        return value

    def sizes(self, key: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """A list of as many non-negative integers as S2 Pro has there."""
        value = self._values.get(key, default)
        if isinstance(value, list | tuple) and len(value) == len(default):
            sizes = tuple(int(item) for item in value if isinstance(item, int) and item >= 0)
            if len(sizes) == len(default):
                return sizes
        raise self.wrong(key, value, f"a list of {len(default)} integers")

    def group(self, key: str) -> "Fields":
        """The values below `key`; empty when it is absent."""
        value = self._values.get(key, {})
        if not isinstance(value, dict):
            raise self.wrong(key, value, "a group of values")
        return Fields(value, file=self._file)

    def wrong(self, key: str, value: object, expected: str) -> EngineUnavailableError:
        return EngineUnavailableError(
            f"{self._file}: {key} is {str(value)[:80]!r}; expected {expected}"
        )


def _check_ar(config: ArConfig, fields: Fields, key: str) -> ArConfig:
    num_ids = config.semantic_end_id - config.semantic_begin_id + 1
    if num_ids != config.codebook_size or config.semantic_end_id >= config.vocab_size:
        raise fields.wrong(
            key, config.semantic_end_id, f"{config.codebook_size} ids inside the vocabulary"
        )
    if config.fast.dim != config.slow.dim:
        raise fields.wrong("fast width", config.fast.dim, f"{config.slow.dim}, as the slow AR")
    for part in (config.slow, config.fast):
        if part.num_heads % part.num_kv_heads or part.head_dim % 2:
            raise fields.wrong(
                "heads",
                (part.num_heads, part.num_kv_heads, part.head_dim),
                "a multiple of the KV heads, and an even head size",
            )
    return config


def ar_config_from_gguf(values: Mapping[str, object], *, head_dim: int, file: str) -> ArConfig:
    """Sizes of both ARs from GGUF metadata.

    head_dim: of the slow AR, which has no key and is read from the shape of `q_norm` (spec 8).
    """
    fields = Fields(values, file=file)
    fields.flag("fish_speech.scale_codebook_embeddings", required=True)
    fields.flag("fish_speech.norm_fastlayer_input", required=True)
    fields.flag("fish_speech.tie_word_embeddings", required=True)
    for name in ("tie_word_embeddings", "attention_qk_norm", "attention_qkv_bias"):
        fields.flag(f"fish_speech.fast_{name}", required=False)
    fields.flag("fish_speech.fast_attention_o_bias", required=False)
    fields.flag("fish_speech.fast_project_in", required=False)
    slow = _gguf_slow(fields, head_dim)
    num_codebooks = fields.positive("fish_speech.num_codebooks", 10)
    fast = _gguf_fast(fields, slow, num_codebooks)
    config = ArConfig(
        slow=slow,
        fast=fast,
        vocab_size=fields.positive("fish-speech.vocab_size", 155776),
        codebook_size=fields.positive("fish_speech.codebook_size", 4096),
        num_codebooks=num_codebooks,
        semantic_begin_id=fields.whole("fish_speech.semantic_begin_id", SEMANTIC_BEGIN_ID),
        semantic_end_id=fields.whole("fish_speech.semantic_end_id", SEMANTIC_END_ID),
    )
    return _check_ar(config, fields, "fish_speech.semantic_end_id")


def _gguf_slow(fields: Fields, head_dim: int) -> TransformerConfig:
    return TransformerConfig(
        num_layers=fields.positive("fish-speech.block_count", 36),
        dim=fields.positive("fish-speech.embedding_length", 2560),
        num_heads=fields.positive("fish-speech.attention.head_count", 32),
        num_kv_heads=fields.positive("fish-speech.attention.head_count_kv", 8),
        head_dim=head_dim,
        ffn_dim=fields.positive("fish-speech.feed_forward_length", 9728),
        max_positions=fields.positive("fish-speech.context_length", 32768),
        rope_base=fields.real("fish-speech.rope.freq_base", 1e6),
        norm_eps=_round_eps(fields.real("fish-speech.attention.layer_norm_rms_epsilon", 1e-6)),
        has_qk_norm=fields.choice("fish_speech.attention_qk_norm", default=True),
    )


def _gguf_fast(fields: Fields, slow: TransformerConfig, num_codebooks: int) -> TransformerConfig:
    return TransformerConfig(
        num_layers=fields.positive("fish_speech.fast_block_count", 4),
        dim=fields.positive("fish_speech.fast_embedding_length", 2560),
        num_heads=fields.positive("fish_speech.fast_head_count", 32),
        num_kv_heads=fields.positive("fish_speech.fast_head_count_kv", 8),
        head_dim=fields.positive("fish_speech.fast_head_dim", 128),
        ffn_dim=fields.positive("fish_speech.fast_feed_forward_length", 9728),
        max_positions=num_codebooks,
        # The official code uses the slow values for both (spec 1.1).
        rope_base=slow.rope_base,
        norm_eps=slow.norm_eps,
    )


def _round_eps(value: float) -> float:
    """The decimal number that was stored as float32: 9.99999997e-07 becomes 1e-06."""
    return float(f"{value:.6g}")


def _json_stack(fields: Fields, default: TransformerConfig) -> TransformerConfig:
    fields.flag("attention_qkv_bias", required=False)
    fields.flag("attention_o_bias", required=False)
    return TransformerConfig(
        num_layers=fields.positive("n_layer", default.num_layers),
        dim=fields.positive("dim", default.dim),
        num_heads=fields.positive("n_head", default.num_heads),
        num_kv_heads=fields.positive("n_local_heads", default.num_kv_heads),
        head_dim=fields.positive("head_dim", default.head_dim),
        ffn_dim=fields.positive("intermediate_size", default.ffn_dim),
        max_positions=fields.positive("max_seq_len", default.max_positions),
        rope_base=fields.real("rope_base", default.rope_base),
        norm_eps=fields.real("norm_eps", default.norm_eps),
        has_qk_norm=fields.choice("attention_qk_norm", default=default.has_qk_norm),
    )


def ar_config_from_json(values: Mapping[str, object], *, file: str) -> ArConfig:
    """Sizes of both ARs from the official `config.json`."""
    fields = Fields(values, file=file)
    if values.get("model_type") != "fish_qwen3_omni":
        raise fields.wrong("model_type", values.get("model_type"), "'fish_qwen3_omni'")
    text, audio = fields.group("text_config"), fields.group("audio_decoder_config")
    text.flag("tie_word_embeddings", required=True)
    audio.flag("tie_word_embeddings", required=False)
    audio.flag("attention_qk_norm", required=False)
    slow = _json_stack(
        text,
        TransformerConfig(36, 2560, 32, 8, 128, 9728, 32768, 1e6, 1e-6, has_qk_norm=True),
    )
    num_codebooks = audio.positive("num_codebooks", 10)
    fast = _json_stack(audio, TransformerConfig(4, 2560, 32, 8, 128, 9728, 11, 1e6, 1e-6))
    fast = TransformerConfig(
        num_layers=fast.num_layers,
        dim=fast.dim,
        num_heads=fast.num_heads,
        num_kv_heads=fast.num_kv_heads,
        head_dim=fast.head_dim,
        ffn_dim=fast.ffn_dim,
        max_positions=num_codebooks,
        rope_base=slow.rope_base,
        norm_eps=slow.norm_eps,
    )
    config = ArConfig(
        slow=slow,
        fast=fast,
        vocab_size=text.positive("vocab_size", 155776),
        codebook_size=audio.positive("vocab_size", 4096),
        num_codebooks=num_codebooks,
        semantic_begin_id=fields.whole("semantic_start_token_id", SEMANTIC_BEGIN_ID),
        semantic_end_id=fields.whole("semantic_end_token_id", SEMANTIC_END_ID),
    )
    return _check_ar(config, fields, "semantic_end_token_id")


def read_json_object(path: Path) -> dict[str, object]:
    """The JSON object in the file at `path`. Raises EngineUnavailableError for anything else."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise EngineUnavailableError(f"{path.name} is missing or is no JSON file") from error
    if not isinstance(values, dict):
        raise EngineUnavailableError(f"{path.name} holds no JSON object")
    return values
