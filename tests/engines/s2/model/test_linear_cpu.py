"""The kernels against the plain path, for every type and shape that a model has."""

import pytest
import torch

from fishs2.engines.s2.model import linear
from fishs2.engines.s2.model.linear import QuantLinear
from fishs2.engines.s2.model.linear_cpu import MAX_VECTORS
from fishs2.engines.s2.weights.quant import BLOCK_TYPES, BlockType, PackedInt8, repack, unpack_rows
from tests.engines.s2.weights.test_quant import random_rows

QUANTISED = [block for block in BLOCK_TYPES.values() if block.unpack is not None]


@pytest.mark.parametrize("num_vectors", [1, 3, MAX_VECTORS])
@pytest.mark.parametrize("block", QUANTISED, ids=lambda block: block.name)
def test_products_are_those_of_the_plain_path(
    block: BlockType, num_vectors: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_blocks = 3 if block.num_elements == 256 else 24
    raw = torch.from_numpy(random_rows(block, num_rows=131, num_blocks=num_blocks))
    matrix = QuantLinear(repack(raw, block), torch.float32)
    x = torch.randn(num_vectors, 768, generator=torch.Generator().manual_seed(1))

    assert linear.linear_cpu is not None
    fast = matrix(x)
    monkeypatch.setattr(linear, "linear_cpu", None)
    plain = matrix(x)

    torch.testing.assert_close(fast, plain, rtol=0, atol=1e-5 * plain.abs().max().item())


@pytest.mark.parametrize("has_fast", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_many_vectors_at_once_stay_near_the_exact_product(
    dtype: torch.dtype, has_fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "has_fast_bfloat16", lambda: has_fast)
    raw = torch.from_numpy(random_rows(BLOCK_TYPES[8], num_rows=40, num_blocks=24))
    packed = repack(raw, BLOCK_TYPES[8])
    x = torch.randn(MAX_VECTORS + 5, 768, generator=torch.Generator().manual_seed(1))

    ours = QuantLinear(packed, dtype)(x).float()

    exact = x.double() @ unpack_rows(packed, torch.float32).double().T
    bound = {torch.float32: 1e-6, torch.float16: 1e-3, torch.bfloat16: 1e-2}[dtype]
    assert (ours - exact).abs().max() < bound * exact.abs().max()


def test_scales_of_every_size_are_read_exactly() -> None:
    # All finite float16 numbers, the subnormal ones too, each the scale of one group.
    scales = torch.arange(2**16).to(torch.uint16).view(torch.float16)
    scales = scales[scales.isfinite()].reshape(-1, 1)
    q = torch.zeros(len(scales), 32, dtype=torch.int8)
    q[:, 5] = 3
    matrix = QuantLinear(PackedInt8(q, scales, None), torch.float32)
    x = torch.zeros(1, 32)
    x[0, 5] = 1

    assert torch.equal(matrix(x)[0], 3 * scales[:, 0].float())


def test_leading_dimensions_and_compute_type_are_kept() -> None:
    block = BLOCK_TYPES[8]
    raw = torch.from_numpy(random_rows(block, num_rows=7, num_blocks=2))
    matrix = QuantLinear(repack(raw, block), torch.bfloat16)

    y = matrix(torch.randn(2, 1, 64))

    assert (y.shape, y.dtype) == ((2, 1, 7), torch.bfloat16)


@pytest.mark.parametrize("block", QUANTISED, ids=lambda block: block.name)
def test_other_devices_than_a_cpu_multiply_on_the_plain_path(block: BlockType) -> None:
    # As on Apple silicon: whatever the kernels for a CPU would read has no memory there.
    matrix = QuantLinear(
        repack(torch.zeros((6, 2 * block.num_bytes), dtype=torch.uint8), block), torch.bfloat16
    ).to("meta")

    y = matrix(torch.zeros((1, 3, matrix.num_columns), device="meta"))

    assert (y.shape, y.dtype, y.device.type) == ((1, 3, 6), torch.bfloat16, "meta")
