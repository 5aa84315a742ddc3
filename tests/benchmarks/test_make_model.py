"""Models of random weights, made for benchmarks."""

import csv
import json
from pathlib import Path

import pytest
import torch

from benchmarks.make_model import list_shapes, make_model, sizes
from fishs2.engines.s2.device.model import ModelFiles, Precision, load_model
from fishs2.engines.s2.model.generate import generate_frames
from fishs2.engines.s2.model.kv_cache import allocate_kv_cache
from fishs2.engines.s2.model.loader import CPU
from fishs2.engines.s2.model.params import GenerateParams
from fishs2.engines.s2.model.prompt import build_prompt
from fishs2.engines.s2.model.slow_ar import prefill, semantic_logits
from fishs2.engines.s2.weights.checkpoint import open_weights
from fishs2.engines.s2.weights.quant import BLOCK_TYPES
from fishs2.engines.s2.weights.tensors import read_dense
from tests.engines.s2.golden import GOLDEN


def made(folder: Path, kind: str, w2_kind: str | None = None) -> ModelFiles:
    path = make_model(folder, sizes()["tiny"], kind, w2_kind=w2_kind)
    return ModelFiles(path, codec_config=folder / "codec.json")


@pytest.fixture(scope="module", params=[block.name for block in BLOCK_TYPES.values()])
def of_a_type(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, ModelFiles]:
    """A type, and a model of it."""
    return request.param, made(tmp_path_factory.mktemp(request.param), request.param)


def test_the_real_size_has_the_tensors_of_the_published_files() -> None:
    with (GOLDEN / "gguf_tensors.tsv").open() as file:
        published = {
            row["name"]: tuple(json.loads(row["torch_shape"]))
            for row in csv.DictReader(file, delimiter="\t")
        }

    assert list_shapes(sizes()["real"]) == published
    assert len(published) == 813


def test_a_model_of_every_type_gives_the_same_logits_packed_and_dense(
    of_a_type: tuple[str, ModelFiles],
) -> None:
    kind, files = of_a_type
    logits = []

    for mode in ("dense", "packed"):
        model = load_model(files, Precision(mode=mode))
        prompt = torch.from_numpy(build_prompt(model.tokenizer, "Hello, world.")).long()[None]
        cache = allocate_kv_cache(
            model.ar.config.slow, 1, prompt.shape[2], dtype=torch.float32, device=CPU
        )
        logits.append(semantic_logits(model.ar.slow, prefill(model.ar.slow, prompt, cache)))

    # Types with one scale are exact; the scales of K types are rounded to float16 once.
    error = (logits[0] - logits[1]).abs().max() / logits[0].std()
    assert error < (0.01 if kind.endswith("_K") else 1e-5)


def test_a_packed_model_speaks(tmp_path: Path) -> None:
    model = load_model(made(tmp_path, "Q6_K"), Precision(mode="packed"))
    prompt = build_prompt(model.tokenizer, "Hello, world.")

    frames = list(generate_frames(model.ar, prompt, GenerateParams(max_new_tokens=3)))

    assert len(frames) == 3


def test_types_are_read_from_every_tensor(tmp_path: Path) -> None:
    files = made(tmp_path, "Q4_K", "Q6_K")

    tensors = open_weights(files.model).tensors

    assert tensors["layers.1.feed_forward.w1.weight"].type.name == "Q4_K"
    assert tensors["layers.1.feed_forward.w2.weight"].type.name == "Q6_K"
    assert tensors["layers.1.ffn_norm.weight"].type.name == "F16"


def test_values_have_the_wanted_spread(of_a_type: tuple[str, ModelFiles]) -> None:
    _, files = of_a_type
    stored = open_weights(files.model).tensors["layers.0.feed_forward.w1.weight"]

    values = read_dense(stored, torch.float32)

    assert abs(values.mean().item()) < 0.02
    assert 0.6 / 16 < values.std().item() < 1.6 / 16
