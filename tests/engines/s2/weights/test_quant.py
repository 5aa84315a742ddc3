import gguf
import numpy as np
import pytest
import torch

from fishs2.engines.s2.weights.quant import (
    BLOCK_TYPES,
    BlockType,
    dequantise,
    join_rows,
    repack,
    unpack_rows,
)
from tests.engines.s2.golden import arrays

QUANTISED = [block for block in BLOCK_TYPES.values() if block.unpack is not None]
KINDS = pytest.mark.parametrize("block", QUANTISED, ids=lambda block: block.name)


def random_rows(block: BlockType, *, num_rows: int, num_blocks: int) -> np.ndarray:
    """Random bytes whose float16 fields are small numbers: uint8 [rows, blocks * bytes]."""
    rng = np.random.default_rng(7)
    raw = rng.integers(0, 256, (num_rows * num_blocks, block.num_bytes), np.uint8)
    starts = {"Q6_K": [208], "Q3_K": [108], "Q2_K": [80, 82]}.get(
        block.name, [0, 2] if block.num_elements == 256 else [0]
    )
    for start in starts:
        scales = rng.normal(0, 0.01, len(raw)).astype(np.float16)
        raw[:, start : start + 2] = scales[:, None].view(np.uint8)
    return raw.reshape(num_rows, -1)


@KINDS
def test_blocks_dequantise_to_the_golden_values(block: BlockType) -> None:
    golden = arrays("kquant_golden")

    values = dequantise(torch.from_numpy(golden[f"{block.name}_bytes"]), block)

    np.testing.assert_array_equal(values.numpy(), golden[f"{block.name}_f32"])


@KINDS
def test_random_blocks_dequantise_as_the_gguf_package_does(block: BlockType) -> None:
    raw = random_rows(block, num_rows=8, num_blocks=5)

    values = dequantise(torch.from_numpy(raw), block)

    expected = gguf.quants.dequantize(raw, gguf.GGMLQuantizationType[block.name])
    np.testing.assert_array_equal(values.numpy(), expected)


@KINDS
def test_packed_rows_differ_by_one_rounding_of_the_scales(block: BlockType) -> None:
    raw = torch.from_numpy(random_rows(block, num_rows=8, num_blocks=5))

    packed = unpack_rows(repack(raw, block), torch.float32)

    assert block.unpack is not None
    groups = block.unpack(raw.reshape(-1, block.num_bytes))
    half_ulp = 2.0**-11
    bound = (groups.q.float() * groups.scale[..., None]).abs() * half_ulp
    if groups.minimum is not None:
        bound = bound + groups.minimum[..., None].abs() * half_ulp
    error = (packed - dequantise(raw, block)).abs()
    assert (error <= bound.reshape(8, -1) * 1.001 + 1e-9).all()


@pytest.mark.parametrize("name", ["Q8_0", "Q4_0", "Q5_0"])
def test_types_with_one_stored_scale_pack_without_any_rounding(name: str) -> None:
    block = next(block for block in QUANTISED if block.name == name)
    raw = torch.from_numpy(random_rows(block, num_rows=8, num_blocks=5))

    packed = unpack_rows(repack(raw, block), torch.float32)

    assert torch.equal(packed, dequantise(raw, block))


@KINDS
def test_rows_packed_in_parts_equal_rows_packed_at_once(block: BlockType) -> None:
    raw = torch.from_numpy(random_rows(block, num_rows=8, num_blocks=2))

    joined = join_rows([repack(raw[:3], block), repack(raw[3:], block)])

    whole = unpack_rows(repack(raw, block), torch.float32)
    assert torch.equal(unpack_rows(joined, torch.float32), whole)
