"""Files that would end the s2.cpp library are refused, with the setting that helps."""

import json
import shutil
import struct
import sys
from pathlib import Path

import pytest

from fishs2.engines.s2cpp.bundle import choose_backend, find_library, library_name, read_bundle
from fishs2.engines.s2cpp.files import check_model, check_tokenizer
from fishs2.errors import EngineUnavailableError
from tests.engines.s2.golden import MODEL_FILE, TOKENIZER_FILE

LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


def changed_model(folder: Path, before: bytes, after: bytes) -> Path:
    """The golden model with some bytes of its header replaced by as many others."""
    assert len(before) == len(after)
    content = MODEL_FILE.read_bytes()
    assert before in content
    path = folder / "m.gguf"
    path.write_bytes(content.replace(before, after, 1))
    return path


def key(name: str, kind: int) -> bytes:
    return name.encode() + struct.pack("<I", kind)


def test_good_files_pass_and_say_how_long_the_context_is() -> None:
    assert check_model(MODEL_FILE).max_positions == 4096
    check_tokenizer(TOKENIZER_FILE)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (key("fish-speech.block_count", 4), key("fish-speech.block_count", 5), "the type int32"),
        (key("fish_speech.fast_head_dim", 4), key("fish_speech.fast_head_dim", 6), "float32"),
        (b"fish-speech", b"fish-splash", "'fish-splash' model"),
        (b"layers.1.ffn_norm.weight", b"layers.1.ffn_norm.xeight", "layers.1.ffn_norm.weight"),
        (b"c.encoder.block.0.conv.bias", b"c.encoder.block.0.conv.bios", "c.encoder.block.0"),
        (b"GGUF", b"GGML", "not a GGUF file"),
        (
            key("fish-speech.vocab_size", 4) + struct.pack("<I", 768),
            key("fish-speech.vocab_size", 4) + struct.pack("<I", 700),
            "vocabulary has 700 entries, and has 768",
        ),
        (
            key("fish-speech.block_count", 4) + struct.pack("<I", 2),
            key("fish-speech.block_count", 4) + struct.pack("<I", 1_000_000),
            "says it has 1000000 layers",
        ),
    ],
)
def test_model_that_would_end_the_library_is_refused(
    before: bytes, after: bytes, message: str, tmp_path: Path
) -> None:
    with pytest.raises(EngineUnavailableError, match=message) as caught:
        check_model(changed_model(tmp_path, before, after))

    assert str(tmp_path) not in caught.value.message


def test_model_that_is_no_whole_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    for content, message in (
        (None, "the model m.gguf is missing; name it with FISHS2_MODEL_PATH"),
        (b"", "ends inside its header"),
        (MODEL_FILE.read_bytes()[:1000], "ends inside its header"),
        (LFS_POINTER, "only points to the model"),
    ):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(EngineUnavailableError, match=message):
            check_model(path)
    with pytest.raises(EngineUnavailableError, match="is a folder"):
        check_model(tmp_path)


def change_tokenizer(content: dict[str, object], name: str) -> object:
    model = content["model"]
    tokens = content["added_tokens"]
    assert isinstance(model, dict)
    assert isinstance(tokens, list)
    match name:
        case "list":
            return [1, 2]
        case "empty":
            return {}
        case "vocab":
            model["vocab"] = {"a": "b"}
        case "merges":
            model["merges"] = [["a"]]
        case "special":
            content["added_tokens"] = [t for t in tokens if t["content"] != "<|voice|>"]
        case "token":
            tokens[0]["id"] = "x"
    return content


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("list", "has no model"),
        ("empty", "has no model"),
        ("vocab", "vocabulary is no table of numbers"),
        ("merges", "no list of pairs"),
        ("special", r"no special token <\|voice\|>"),
        ("token", "added tokens is damaged"),
    ],
)
def test_tokenizer_that_would_end_the_library_is_refused(
    name: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(change_tokenizer(json.loads(TOKENIZER_FILE.read_bytes()), name)))

    with pytest.raises(EngineUnavailableError, match=message) as caught:
        check_tokenizer(path)
    assert "FISHS2_TOKENIZER_PATH" in caught.value.message


def test_tokenizer_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    for content, message in (
        (None, "is missing; it belongs beside the model, or name it with FISHS2_TOKENIZER_PATH"),
        (LFS_POINTER, "only points to the tokenizer"),
        (b"{", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
    ):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(EngineUnavailableError, match=message):
            check_tokenizer(path)


def test_library_is_found_as_named_or_in_the_folder_and_missing_ones_name_a_setting(
    tmp_path: Path,
) -> None:
    runtime = tmp_path / "runtime"
    with pytest.raises(EngineUnavailableError, match=r"no folder runtime .* FISHS2_RUNTIME_DIR"):
        find_library(None, runtime)
    (runtime / "deep" / "er").mkdir(parents=True)
    with pytest.raises(EngineUnavailableError, match=f"has no {library_name()}"):
        find_library(None, runtime)
    with pytest.raises(EngineUnavailableError, match=r"FISHS2_S2_DLL_PATH says \(other.so\)"):
        find_library(tmp_path / "other.so", runtime)

    deep = runtime / "deep" / "er" / library_name()
    deep.touch()
    assert find_library(None, runtime) == deep
    flat = runtime / library_name()
    shutil.copy(deep, flat)
    assert find_library(None, runtime) == flat
    assert find_library(deep, tmp_path / "nowhere") == deep
    with pytest.raises(EngineUnavailableError, match="cannot be read"):
        read_bundle(flat)  # an empty file


@pytest.mark.skipif(sys.platform != "linux", reason="names of libraries on Linux")
def test_backends_are_those_whose_libraries_lie_beside_it(tmp_path: Path) -> None:
    library = tmp_path / library_name()
    library.write_bytes(b"\0S2SynthesizeStreamingEx\0InitializeS2ModelWithGpuLayers\0")
    for name in ("libggml.so", "libggml-base.so.0", "libggml-cpu-zen4.so", "libggml-cuda.so"):
        (tmp_path / name).touch()
    (tmp_path / "libggml-vulkan.so").touch()
    (tmp_path / "readme-ggml-metal.txt").touch()

    bundle = read_bundle(library)

    assert list(bundle.ggml) == ["ggml", "ggml-cuda", "ggml-base", "ggml-vulkan"]
    assert bundle.backends == ("cuda", "vulkan", "cpu")
    assert (bundle.streams, bundle.counts_layers) == (True, True)
    assert choose_backend("auto", bundle) == "cuda"
    assert choose_backend("vulkan", bundle) == "vulkan"
