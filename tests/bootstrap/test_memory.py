"""The table of what S2 Pro takes on a card, against what the engine makes of every tensor."""

import csv
import json
from math import prod

import pytest
import torch

from benchmarks.make_model import sizes
from fishs2.bootstrap.memory import POSITION_BYTES, WEIGHT_BYTES, worthwhile_quants
from fishs2.engines.s2.weights.quant import BLOCK_TYPES, repack
from tests.engines.s2.golden import GOLDEN

TYPES = {block.name: block for block in BLOCK_TYPES.values()}
# By the layers that w2 belongs to in mixed files: the larger type, as those who quantise do.
PUBLISHED = {
    "f16": ("F16", "F16"),
    "q8_0": ("Q8_0", "Q8_0"),
    "q6_k": ("Q6_K", "Q6_K"),
    "q5_k_m": ("Q5_K", "Q6_K"),
    "q4_k_m": ("Q4_K", "Q6_K"),
    "q3_k": ("Q3_K", "Q3_K"),
    "q2_k": ("Q2_K", "Q2_K"),
}


def bytes_per_weight(name: str) -> float:
    """In memory, once packed; plain floats become bfloat16."""
    block = TYPES[name]
    if block.unpack is None:
        return 2.0
    raw = torch.zeros((1, block.num_bytes), dtype=torch.uint8)
    return repack(raw, block).num_bytes / block.num_elements


def weight_bytes(quant: str) -> float:
    kind, of_w2 = PUBLISHED[quant]
    total = 0.0
    with (GOLDEN / "gguf_tensors.tsv").open() as file:
        for row in csv.DictReader(file, delimiter="\t"):
            shape, name = json.loads(row["torch_shape"]), row["name"]
            # The codec and all vectors are float32.
            is_matrix = len(shape) == 2 and not name.startswith("c.")
            each = bytes_per_weight(of_w2 if ".w2." in name else kind) if is_matrix else 4.0
            total += prod(shape) * each
    head, rope = 2 * 4_097 * 2_560, 2 * 4 * 32_768 * (64 + 32)
    return total + head + rope


@pytest.mark.parametrize("quant", WEIGHT_BYTES)
def test_weights_take_what_the_table_says(quant: str) -> None:
    assert WEIGHT_BYTES[quant] == pytest.approx(weight_bytes(quant), rel=0.01)


def test_smaller_files_that_take_more_are_not_chosen() -> None:
    assert worthwhile_quants() == ["q8_0", "q4_k_m"]


def test_position_has_the_size_of_the_real_model() -> None:
    slow = sizes()["real"].ar.slow
    assert 2 * slow.num_layers * slow.num_kv_heads * slow.head_dim * 2 == POSITION_BYTES
