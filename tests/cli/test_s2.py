import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from fishs2.cli.s2 import app
from fishs2.engines.s2.commands import inspect_model
from fishs2.engines.s2.device.model import ModelFiles
from fishs2.engines.s2.weights.block_sizes import BLOCK_SIZES
from fishs2.engines.s2.weights.inspection import inspect_gguf
from fishs2.engines.s2.weights.quant import BLOCK_TYPES, repack
from fishs2.errors import Fishs2Error
from tests.engines.s2.golden import (
    CODEC_CONFIG,
    CODEC_FILE,
    MODEL_FILE,
    TOKENIZER_FILE,
    arrays,
)

GOLDEN_PROMPT = (
    "--text=[whisper] This is a secret.",
    "--reference-text=Hello world, how are you today?",
)


def run(*arguments: object) -> Result:
    """Run `fishs2 s2` with arguments; an error of ours comes through as it is."""
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    if isinstance(result.exception, Fishs2Error):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def read_wav(path: Path) -> np.ndarray:
    raw = path.read_bytes()
    assert raw[:4] == b"RIFF"
    assert struct.unpack("<I", raw[4:8])[0] == len(raw) - 8
    return np.frombuffer(raw, "<f4", offset=44)


def write_wav(path: Path, pcm: np.ndarray, rate_hz: int) -> None:
    form = struct.pack("<HHIIHH", 3, 1, rate_hz, rate_hz * 4, 4, 32)
    samples = pcm.astype("<f4").tobytes()
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(samples))
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body) + len(samples)) + body + samples)


def generate(tmp_path: Path, *arguments: object) -> np.ndarray:
    reference = tmp_path / "reference.npy"
    np.save(reference, arrays("lm_golden")["ref_codes"])
    run(
        "generate",
        f"--model={MODEL_FILE}",
        f"--tokenizer={TOKENIZER_FILE}",
        f"--codec-config={CODEC_CONFIG}",
        f"--reference={reference}",
        *GOLDEN_PROMPT,
        "--temperature=0",
        "--max-new-tokens=20",
        f"--codes={tmp_path / 'codes.npy'}",
        f"--wav={tmp_path / 'sound.wav'}",
        *arguments,
    )
    codes: NDArray[Any] = np.load(tmp_path / "codes.npy")
    return codes


@pytest.mark.parametrize("weights", ["dense", "packed"])
def test_generate_reproduces_the_golden_codes(tmp_path: Path, weights: str) -> None:
    codes = generate(tmp_path, f"--weights={weights}")

    golden = arrays("lm_golden_f16weights")["greedy_tokens"][1:]
    assert codes.dtype == np.int32
    np.testing.assert_array_equal(codes, golden)
    assert len(read_wav(tmp_path / "sound.wav")) == 20 * 2048


def test_generate_speaks_in_half_types_and_with_a_recorded_reference(tmp_path: Path) -> None:
    write_wav(tmp_path / "voice.wav", arrays("codec_golden")["audio_in"], 44100)

    codes = generate(
        tmp_path,
        "--dtype=bf16",
        f"--reference={tmp_path / 'voice.wav'}",
        "--reference-text=Another voice.",
    )

    assert codes.shape == (10, 20)


def test_encode_and_decode_reproduce_the_golden_codec(tmp_path: Path) -> None:
    write_wav(tmp_path / "voice.wav", arrays("codec_golden")["audio_in"], 44100)
    codec = (f"--model={CODEC_FILE}", f"--codec-config={CODEC_CONFIG}")

    run("encode", tmp_path / "voice.wav", "-o", tmp_path / "codes.npy", *codec)
    run("decode", tmp_path / "codes.npy", "-o", tmp_path / "sound.wav", "--stream=3", *codec)

    golden = arrays("codec_golden")
    np.testing.assert_array_equal(np.load(tmp_path / "codes.npy"), golden["codes"])
    sound = read_wav(tmp_path / "sound.wav")
    np.testing.assert_allclose(sound, golden["audio_out"], rtol=0, atol=1e-5)


def test_inspect_shows_parts_types_and_memory() -> None:
    output = run("inspect", MODEL_FILE, f"--codec-config={CODEC_CONFIG}").output

    assert "fish-speech.block_count = 2" in output
    assert "slow layers" in output
    assert "18 F16" in output
    assert "packed bf16" in output


def test_inspect_reads_the_header_without_torch() -> None:
    code = (
        "import sys; from fishs2.cli.main import main\n"
        "try: main()\n"
        "finally: print('torch' in sys.modules)"
    )
    command = ["s2", "inspect", str(MODEL_FILE), f"--codec-config={CODEC_CONFIG}"]
    done = subprocess.run(
        [sys.executable, "-c", code, *command], capture_output=True, text=True, check=True
    )

    assert "fish-speech.block_count = 2" in done.stdout
    assert done.stdout.endswith("False\n")


def test_header_says_what_the_opened_model_says() -> None:
    files = ModelFiles(MODEL_FILE, None, CODEC_CONFIG)

    assert inspect_gguf(MODEL_FILE, CODEC_CONFIG) == inspect_model(files)


@pytest.mark.parametrize("kind", BLOCK_SIZES)
def test_packed_sizes_are_those_of_the_layouts(kind: int) -> None:
    size, block = BLOCK_SIZES[kind], BLOCK_TYPES[kind]
    packed_bytes = 2  # plain floats are bfloat16
    if block.unpack is not None:
        raw = torch.zeros((1, block.num_bytes), dtype=torch.uint8)
        packed_bytes = repack(raw, block).num_bytes

    assert (size.name, size.num_elements, size.num_bytes) == (
        block.name,
        block.num_elements,
        block.num_bytes,
    )
    assert size.packed_bytes == packed_bytes


def test_wrong_use_is_refused_with_the_remedy(tmp_path: Path) -> None:
    model = f"--model={MODEL_FILE}"
    codes = tmp_path / "codes.npy"
    np.save(codes, np.zeros((3, 4), np.int32))

    with pytest.raises(Fishs2Error, match="give --codes, --wav or both"):
        run("generate", model, "--text=x")
    with pytest.raises(Fishs2Error, match="1 --reference and 0 --reference-text"):
        run("generate", model, "--text=x", f"--codes={codes}", f"--reference={codes}")
    with pytest.raises(Fishs2Error, match=r"expected integers \[10, T\]"):
        run("decode", codes, "-o", tmp_path / "x.wav", model, f"--codec-config={CODEC_CONFIG}")
    with pytest.raises(Fishs2Error, match="not a readable"):
        run("decode", TOKENIZER_FILE, "-o", tmp_path / "x.wav", model)
