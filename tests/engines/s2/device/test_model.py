import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.make_model import make_model, sizes
from fishs2.engines.s2.commands import inspect_model
from fishs2.engines.s2.device.model import (
    ModelFiles,
    Precision,
    is_device_lost,
    load_codec,
    load_model,
)
from fishs2.errors import EngineUnavailableError
from tests.engines.s2.golden import (
    CODEC_CONFIG,
    CODEC_FILE,
    GOLDEN,
    MODEL_FILES,
    TOKENIZER_FILE,
)


def test_a_whole_model_loads_and_every_byte_is_counted() -> None:
    num_bytes: list[int] = []

    model = load_model(MODEL_FILES, Precision(), on_progress=num_bytes.append)

    assert model.ar.config.slow.head_dim == 16
    assert len(num_bytes) == 367
    total = sum(each.numel() for each in model.codec.parameters())
    assert total == sum(torch.Size(shape).numel() for shape in json_shapes(GOLDEN / "codec_tiny"))


def json_shapes(folder: Path) -> list[list[int]]:
    """Shapes in the golden codec file, the gains of weight norm left out."""
    raw = (folder / "codec.safetensors").read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    return [
        entry["shape"]
        for name, entry in header.items()
        if name != "__metadata__" and not name.endswith(("original0", "weight_g"))
    ]


def test_the_codec_loads_alone() -> None:
    codec = load_codec(ModelFiles(CODEC_FILE, codec_config=CODEC_CONFIG))

    assert codec.config.samples_per_frame == 2048


def test_a_codec_of_another_size_is_refused_by_shape(tmp_path: Path) -> None:
    shutil.copy(MODEL_FILES.model, tmp_path)
    alone = ModelFiles(tmp_path / MODEL_FILES.model.name, MODEL_FILES.tokenizer)
    with pytest.raises(EngineUnavailableError, match="codebooks, the first of 4096; the model"):
        load_model(alone, Precision())

    # The sizes of the codec, for models that are not as large as S2 Pro.
    shutil.copy(CODEC_CONFIG, tmp_path / "codec.json")
    assert load_model(alone, Precision()).codec.config.num_codebooks == 10


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    foreign = TOKENIZER_FILE.read_text().replace("<|semantic:255|>", "<|semantic:other|>")
    (tmp_path / "tokenizer.json").write_text(foreign)

    with pytest.raises(EngineUnavailableError, match="semantic ids 512 to 766; the model expects"):
        load_model(replace(MODEL_FILES, tokenizer=tmp_path / "tokenizer.json"), Precision())


@pytest.mark.parametrize(
    ("error", "is_lost"),
    [
        (RuntimeError("CUDA error: an illegal memory access was encountered"), True),
        (torch.OutOfMemoryError("CUDA out of memory"), False),
        (None, False),
    ],
)
def test_a_card_is_lost_when_it_answers_nothing_any_more(
    error: Exception | None, is_lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def synchronize(name: str) -> None:
        asked.append(name)
        if error is not None:
            raise error

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)

    assert is_device_lost("cuda:1") is is_lost
    assert not is_device_lost("cpu")
    assert asked == ["cuda:1"]


def test_a_missing_tokenizer_says_where_it_belongs() -> None:
    with pytest.raises(EngineUnavailableError, match=r"put the tokenizer.json of S2 Pro beside"):
        load_model(replace(MODEL_FILES, tokenizer=None), Precision())


LOAD = """
import sys
from pathlib import Path
import torch
from fishs2.engines.s2.weights import tensors
from fishs2.engines.s2.device.model import ModelFiles, Precision, load_model

def read_bytes(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(key))

tensors._SLICE_ELEMENTS = 1 << 20  # the rest of the bound is then easy to see
precision = Precision(dtype=torch.bfloat16, mode=sys.argv[1])
# Libraries come into memory with the first model.
first, large = (
    ModelFiles(Path(folder) / "model.gguf", codec_config=Path(folder) / "codec.json")
    for folder in sys.argv[2:]
)
load_model(first, precision)
before = read_bytes("VmRSS")
model = load_model(large, precision)
print(read_bytes("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("mode", ["dense", "packed"])
def test_loading_never_holds_a_second_copy(mode: str, large_model: Path, tmp_path: Path) -> None:
    report = inspect_model(
        ModelFiles(large_model / "model.gguf", codec_config=large_model / "codec.json")
    )

    make_model(tmp_path, sizes()["tiny"], "Q8_0")

    done = subprocess.run(
        [sys.executable, "-c", LOAD, mode, str(tmp_path), str(large_model)],
        capture_output=True,
        check=True,
        text=True,
        # Every arena of the allocator keeps some of what was freed.
        env={**os.environ, "MALLOC_ARENA_MAX": "1"},
    )

    needed = report.memory_bytes[f"{mode} bf16"]
    assert needed > 200e6
    # A second copy would be twice that; the rest is what the allocator keeps.
    assert needed - 20e6 < int(done.stdout) < 1.7 * needed


@pytest.fixture(scope="module")
def large_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of some 160 MB in Q8_0."""
    small = sizes()["small"]
    wide = replace(small.ar.slow, num_layers=6, dim=1024, num_heads=16, num_kv_heads=4)
    size = replace(
        small,
        ar=replace(
            small.ar,
            slow=replace(wide, ffn_dim=4096),
            fast=replace(small.ar.fast, dim=1024, num_heads=16, num_kv_heads=4),
        ),
    )
    folder = tmp_path_factory.mktemp("large")
    make_model(folder, size, "Q8_0")
    return folder
