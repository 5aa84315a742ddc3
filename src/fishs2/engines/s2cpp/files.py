"""Whether the s2.cpp library would survive a model and a tokenizer; looked at before it loads them.

The library trusts its files: a metadata value of another type, a vocabulary of another size, a
missing tensor or a tokenizer without its special tokens end the process, some of them only at the
first speech. Source: measured on the library; types and names are those of the published files.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from fishs2.engines.s2.weights.gguf_header import RawHeader, read_raw_header
from fishs2.errors import EngineUnavailableError

_UINT32, _INT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9
_KIND_NAMES = {_UINT32: "uint32", _INT32: "int32", _FLOAT32: "float32", _BOOL: "bool"}
_KIND_NAMES |= {_STRING: "string", _ARRAY: "array"}

_WORDS = re.compile(r"\S+")
_UINT32_KEYS = _WORDS.findall("""
fish-speech.context_length fish-speech.embedding_length fish-speech.feed_forward_length
fish-speech.block_count fish-speech.attention.head_count fish-speech.attention.head_count_kv
fish-speech.vocab_size fish_speech.codebook_size fish_speech.num_codebooks
fish_speech.semantic_begin_id fish_speech.semantic_end_id fish_speech.fast_context_length
fish_speech.fast_embedding_length fish_speech.fast_feed_forward_length fish_speech.fast_block_count
fish_speech.fast_head_count fish_speech.fast_head_count_kv fish_speech.fast_head_dim
fish_speech.codec.sample_rate fish_speech.codec.hop_length fish_speech.codec.encoder_dim
fish_speech.codec.decoder_dim fish_speech.codec.latent_dim fish_speech.codec.quantizer_input_dim
fish_speech.codec.quantizer_codebook_dim fish_speech.codec.quantizer_residual_codebooks
fish_speech.codec.quantizer_residual_codebook_size
fish_speech.codec.quantizer_semantic_codebook_size fish_speech.codec.transformer.block_size
fish_speech.codec.transformer.head_dim fish_speech.codec.rvq_transformer.window_size
fish_speech.codec.rvq_transformer.block_size fish_speech.codec.rvq_transformer.n_layer
fish_speech.codec.rvq_transformer.n_head fish_speech.codec.rvq_transformer.head_dim
fish_speech.codec.rvq_transformer.dim fish_speech.codec.rvq_transformer.feed_forward_length
""")
_FLOAT32_KEYS = _WORDS.findall("""
fish-speech.rope.freq_base fish-speech.attention.layer_norm_rms_epsilon
fish_speech.fast_rope_freq_base fish_speech.fast_layer_norm_rms_eps
fish_speech.codec.transformer.rope_freq_base fish_speech.codec.transformer.layer_norm_rms_eps
fish_speech.codec.rvq_transformer.rope_freq_base
fish_speech.codec.rvq_transformer.layer_norm_rms_eps
""")
_BOOL_KEYS = _WORDS.findall("""
fish_speech.scale_codebook_embeddings fish_speech.norm_fastlayer_input
fish_speech.tie_word_embeddings fish_speech.attention_qk_norm fish_speech.fast_tie_word_embeddings
fish_speech.fast_attention_qk_norm fish_speech.fast_attention_qkv_bias
fish_speech.fast_attention_o_bias fish_speech.fast_project_in
""")
_KINDS = (
    dict.fromkeys(_UINT32_KEYS, _UINT32)
    | dict.fromkeys(_FLOAT32_KEYS, _FLOAT32)
    | dict.fromkeys(_BOOL_KEYS, _BOOL)
)
_CODEC_PREFIX = "fish_speech.codec."

_TENSORS = (
    *("embeddings.weight", "codebook_embeddings.weight", "norm.weight"),
    *("fast_embeddings.weight", "fast_norm.weight", "fast_output.weight"),
    *("c.encoder.block.0.conv.weight", "c.encoder.block.0.conv.bias"),
    *("c.decoder.model.0.conv.weight", "c.decoder.model.0.conv.bias"),
    "c.quantizer.semantic_quantizer.quantizers.0.codebook.weight",
)
_LAYER_TENSORS = (
    *("attention.wo.weight", "attention.wqkv.weight", "attention_norm.weight", "ffn_norm.weight"),
    *(f"feed_forward.w{number}.weight" for number in (1, 2, 3)),
)
_SPECIAL_TOKENS = ("<|im_start|>", "<|im_end|>", "<|voice|>")
_MAX_TOKENIZER_BYTES = 1 << 28
_LFS_POINTER = b"version https://git-lfs"


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What callers must know of a model. max_positions: of its context."""

    max_positions: int


def check_files(model: Path, tokenizer: Path) -> ModelFacts:
    """Look at both files. Raises EngineUnavailableError that says what is wrong with which."""
    facts = check_model(model)
    check_tokenizer(tokenizer)
    return facts


def check_model(path: Path) -> ModelFacts:
    """Look at the header of a GGUF file; its weights are not read."""
    if path.is_dir():
        raise EngineUnavailableError(
            f"{path.name} is a folder; the s2cpp engine reads GGUF files only: name one with "
            "FISHS2_MODEL_PATH"
        )
    if not path.is_file():
        raise EngineUnavailableError(
            f"the model {path.name} is missing; name it with FISHS2_MODEL_PATH, or let "
            "`fishs2 fetch --engine s2cpp` download it"
        )
    _refuse_pointer(path, "model")
    header = read_raw_header(path)
    if header.metadata.get("general.architecture") != "fish-speech":
        found = str(header.metadata.get("general.architecture"))[:40]
        raise EngineUnavailableError(f"{path.name} holds a {found!r} model; expected 'fish-speech'")
    _check_kinds(header)
    _check_tensors(header)
    return ModelFacts(_whole(header, "fish-speech.context_length", 32_768))


def check_tokenizer(path: Path) -> None:
    """Look at a tokenizer.json: vocabulary, merges, special tokens."""
    if not path.is_file():
        raise EngineUnavailableError(
            f"the tokenizer {path.name} is missing; it belongs beside the model, or name it with "
            "FISHS2_TOKENIZER_PATH"
        )
    _refuse_pointer(path, "tokenizer")
    if path.stat().st_size > _MAX_TOKENIZER_BYTES:
        raise _bad_tokenizer(path, "it is larger than any tokenizer")
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise _bad_tokenizer(path, "it is no JSON") from error
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict):
        raise _bad_tokenizer(path, "it has no model")
    vocab, merges = model.get("vocab"), model.get("merges")
    if not (isinstance(vocab, dict) and vocab and all(type(i) is int for i in vocab.values())):
        raise _bad_tokenizer(path, "its vocabulary is no table of numbers")
    if not (isinstance(merges, list) and all(_is_merge(merge) for merge in merges)):
        raise _bad_tokenizer(path, "its merges are no list of pairs")
    _check_special_tokens(path, content.get("added_tokens"))


def _check_kinds(header: RawHeader) -> None:
    for key, kind in header.kinds.items():
        wanted = _KINDS.get(key)
        if wanted is not None and kind != wanted:
            raise EngineUnavailableError(
                f"{header.path.name}: {key} has the type {_KIND_NAMES.get(kind, kind)}; the s2.cpp "
                f"library ends at anything but {_KIND_NAMES[wanted]}"
            )
    if not any(key.startswith(_CODEC_PREFIX) for key in header.kinds):
        raise EngineUnavailableError(
            f"{header.path.name} does not describe its codec; the s2.cpp library needs a file with "
            "the model and the codec in one"
        )


def _check_tensors(header: RawHeader) -> None:
    shapes = {tensor.name: tensor.shape for tensor in header.tensors}
    wanted = list(_TENSORS)
    for prefix, key in (
        ("layers", "fish-speech.block_count"),
        ("fast_layers", "fish_speech.fast_block_count"),
    ):
        num_layers = _whole(header, key, 36 if prefix == "layers" else 4)
        if num_layers > len(shapes):
            raise EngineUnavailableError(f"{header.path.name} says it has {num_layers} {prefix}")
        wanted += [f"{prefix}.{i}.{name}" for i in range(num_layers) for name in _LAYER_TENSORS]
    missing = [name for name in wanted if name not in shapes]
    if missing:
        raise EngineUnavailableError(
            f"{header.path.name} lacks {len(missing)} tensors, among them {missing[0]}; download "
            "it again"
        )
    vocab_size = _whole(header, "fish-speech.vocab_size", 155_776)
    num_rows = shapes["embeddings.weight"][0]
    if vocab_size != num_rows:
        raise EngineUnavailableError(
            f"{header.path.name} says its vocabulary has {vocab_size} entries, and has {num_rows}"
        )


def _whole(header: RawHeader, key: str, default: int) -> int:
    value = header.metadata.get(key, default)
    return value if isinstance(value, int) and value > 0 else default


def _refuse_pointer(path: Path, what: str) -> None:
    try:
        with path.open("rb") as file:
            start = file.read(len(_LFS_POINTER))
    except OSError as error:
        raise EngineUnavailableError(f"{path.name} cannot be read: {error.strerror}") from error
    if start == _LFS_POINTER:
        raise EngineUnavailableError(
            f"{path.name} only points to the {what}, as Git LFS leaves it; fetch the file itself"
        )


def _is_merge(merge: object) -> bool:
    if isinstance(merge, list):
        return len(merge) == 2 and all(isinstance(part, str) for part in merge)
    return isinstance(merge, str)


def _check_special_tokens(path: Path, added: object) -> None:
    found = set()
    for token in added if isinstance(added, list) else []:
        if not (
            isinstance(token, dict)
            and isinstance(token.get("content"), str)
            and type(token.get("id")) is int
            and isinstance(token.get("special"), bool)
        ):
            raise _bad_tokenizer(path, "one of its added tokens is damaged")
        if token["special"]:
            found.add(token["content"])
    missing = [name for name in _SPECIAL_TOKENS if name not in found]
    if missing:
        raise _bad_tokenizer(path, f"it has no special token {missing[0]}")


def _bad_tokenizer(path: Path, reason: str) -> EngineUnavailableError:
    return EngineUnavailableError(
        f"{path.name} is no tokenizer of S2 Pro: {reason}; name the right one with "
        "FISHS2_TOKENIZER_PATH"
    )
