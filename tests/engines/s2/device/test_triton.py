"""Each kernel against its plain twin: in Triton's interpreter, or on a card if there is one."""

import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("triton", reason="Triton is made for Linux only")

from fishs2.engines.s2.device import ops as row_ops
from fishs2.engines.s2.device.choose_ops import choose_ops, triton_ops, use_kernels
from fishs2.engines.s2.device.ops import PLAIN, RowPlaces
from fishs2.engines.s2.device.triton import attend, draws, matrix, rows, tiles
from fishs2.engines.s2.model.layers import Attention, RmsNorm
from fishs2.engines.s2.model.linear import Linear, QuantLinear
from fishs2.engines.s2.model.sampler import NO_CODE, SamplingRows, uniform_numbers
from fishs2.engines.s2.weights.config import TransformerConfig
from fishs2.engines.s2.weights.quant import PackedInt8, PackedUint4
from fishs2.errors import EngineUnavailableError
from tests.engines.s2.golden import load_golden_model

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# NumPy, which the interpreter computes with, has no bfloat16 to multiply matrices of.
DTYPES = (torch.float32, torch.bfloat16) if DEVICE == "cuda" else (torch.float32, torch.float16)


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).to(DEVICE)


def vector(*shape: int) -> nn.Parameter:
    return nn.Parameter(normal(*shape), requires_grad=False)


def stored(kind: str, num_rows: int, num_columns: int, dtype: torch.dtype) -> Linear | QuantLinear:
    name, _, width = kind.partition("-")
    if name == "dense":
        return Linear(normal(num_rows, num_columns).to(dtype))
    groups = num_columns // int(width)
    scale = normal(num_rows, groups).abs().half() / 50
    minimum = normal(num_rows, groups + 1)[:, 1:].contiguous().half()
    seeded = torch.Generator().manual_seed(5)
    if name == "uint4":
        q = torch.randint(256, (num_rows, num_columns // 2), dtype=torch.uint8, generator=seeded)
        return QuantLinear(PackedUint4(q.to(DEVICE), scale, minimum), dtype)
    q = torch.randint(-128, 128, (num_rows, num_columns), dtype=torch.int8, generator=seeded)
    least = minimum if name == "int8min" else None
    return QuantLinear(PackedInt8(q.to(DEVICE), scale, least), dtype)


def exact(x: Tensor, held: Linear | QuantLinear) -> Tensor:
    weight = held.weight if isinstance(held, Linear) else held.rows(slice(None), torch.float32)
    return x.double() @ weight.double().T


def assert_near(ours: Tensor, plain: Tensor, dtype: torch.dtype) -> None:
    bound = {torch.float32: 2e-6, torch.float16: 1e-3, torch.bfloat16: 1e-2}[dtype]
    assert (ours.double() - plain.double()).abs().max() < bound * plain.double().abs().max()


@pytest.mark.parametrize("num_parts", [0, 1, 3])
def test_norm_adds_all_parts_to_the_residual_stream(num_parts: int) -> None:
    norm = RmsNorm(vector(96), 1e-6)
    delta = normal(num_parts, 3, 96) if num_parts else None
    ours, plain = normal(3, 96), normal(3, 96)

    ours_normed = rows.add_norm(ours, delta, norm, torch.float32)

    assert_near(ours_normed, row_ops.add_norm(plain, delta, norm, torch.float32), torch.float32)
    assert_near(ours, plain, torch.float32)


@pytest.mark.parametrize("count", [1, 700, 1024])
def test_silu_times_is_silu_times(count: int) -> None:
    gate, up = normal(count), normal(count + 1)[1:]

    assert_near(rows.silu_times(gate, up), nn.functional.silu(gate) * up, torch.float32)


def heads(num_heads: int, num_kv: int, size: int, *, has_norm: bool) -> Attention:
    attention = Attention.__new__(Attention)
    nn.Module.__init__(attention)
    attention.config = TransformerConfig(1, 8, num_heads, num_kv, size, 8, 300, 1e4, 1e-6)
    attention.q_norm = RmsNorm(vector(size), 1e-6) if has_norm else None
    attention.k_norm = RmsNorm(vector(size), 1e-6) if has_norm else None
    return attention


def places(seen: list[int], span: int) -> RowPlaces:
    """Rows in the opposite order of the cache's."""
    count = torch.tensor(seen, device=DEVICE)
    position = count - 1
    row = torch.arange(len(seen), device=DEVICE).flip(0)
    return RowPlaces(row, position, position, count, span)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("num_heads", "num_kv", "size", "has_norm"), [(8, 2, 16, True), (3, 1, 24, False)]
)
def test_heads_are_placed_and_nothing_beside_them(
    num_heads: int, num_kv: int, size: int, has_norm: bool, dtype: torch.dtype
) -> None:
    attention = heads(num_heads, num_kv, size, has_norm=has_norm)
    at = places([6, 101, 1, 300], 300)
    rope = normal(300, size // 2, 2)
    mixed = normal(4, (num_heads + 2 * num_kv) * size).to(dtype)
    caches = [torch.full((5, num_kv, 300, size), 7.0, dtype=dtype, device=DEVICE) for _ in range(4)]

    ours = rows.place_heads(mixed, attention, at, rope, caches[0], caches[1])
    plain = row_ops.place_heads(mixed, attention, at, rope, caches[2], caches[3])

    assert_near(ours, plain, dtype)
    assert_near(caches[0], caches[2], dtype)
    assert torch.equal(caches[1], caches[3])
    assert int((caches[0] != 7).any(-1).sum()) == 4 * num_kv


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("seen", "span"),
    [([10, 1], 10), ([300, 64, 65, 1], 300), ([700], 4096)],
    ids=["fast AR", "some rows", "split"],
)
def test_attention_reads_what_is_filled_and_no_more(
    seen: list[int], span: int, dtype: torch.dtype
) -> None:
    shape = (len(seen), 2, max(seen) + 3, 16)
    keys, values = normal(*shape).to(dtype), (normal(*shape) + 1).to(dtype)
    for count, row in zip(seen, reversed(range(len(seen))), strict=True):
        keys[row, :, count:] = values[row, :, count:] = float("nan")
    q = normal(len(seen), 6, 16).to(dtype)

    ours = attend.attend(q, keys, values, places(seen, span))

    plain = row_ops.attend(q, keys, values, places(seen, max(seen)))
    assert_near(ours, plain, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("num_heads", "size"), [(8, 16), (6, 24)])
@pytest.mark.parametrize(("start", "num_tokens"), [(0, 1), (150, 40), (0, 130)])
def test_tokens_of_a_prompt_see_what_is_before_them(
    start: int, num_tokens: int, num_heads: int, size: int, dtype: torch.dtype
) -> None:
    stop = start + num_tokens
    keys, values = normal(1, 2, stop + 9, size).to(dtype), normal(1, 2, stop + 9, size).to(dtype)
    keys[:, :, stop:] = values[:, :, stop:] = float("nan")
    position = torch.arange(start, stop, device=DEVICE)
    at = RowPlaces(torch.zeros_like(position), position, position, position + 1, stop)
    q = normal(num_tokens, num_heads, size).to(dtype)

    ours = attend.attend_piece(q, keys, values, at)

    plain = row_ops.attend_piece(q, keys, values, at)
    assert_near(ours, plain, dtype)
    # Each token alone, as a decode step has it.
    assert_near(plain, row_ops.attend(q, keys, values, at), dtype)


@pytest.mark.parametrize("num_vectors", [1, 3, 7, 70])
@pytest.mark.parametrize(
    "kind", ["dense", "int8-32", "int8-16", "int8min-32", "uint4-32", "uint4-16"]
)
def test_products_are_those_of_the_unpacked_matrix(kind: str, num_vectors: int) -> None:
    held = stored(kind, 13, 2080, torch.float32)
    x = normal(num_vectors, 2080)

    whole, parts = matrix.multiply(x, held), matrix.multiply_parts(x, held)

    assert_near(whole, exact(x, held), torch.float32)
    assert_near(parts.sum(0), exact(x, held), torch.float32)
    assert kind == "dense" or len(parts) > 1


@pytest.mark.parametrize("kind", ["dense", "int8-32", "uint4-32"])
def test_few_vectors_in_bfloat16_are_rounded_once(kind: str) -> None:
    held = stored(kind, 19, 256, torch.bfloat16)
    x = normal(2, 256).bfloat16()

    y = matrix.multiply(x, held)

    assert y.dtype == torch.bfloat16
    assert_near(y, exact(x, held), torch.bfloat16)


@pytest.mark.parametrize("num_vectors", [1, 7])
@pytest.mark.parametrize("kinds", [("int8-32", "int8-32"), ("uint4-16", "int8-32")])
def test_gates_are_those_of_the_plain_path(kinds: tuple[str, str], num_vectors: int) -> None:
    w1, w3 = (stored(kind, 33, 160, torch.float32) for kind in kinds)
    x = normal(num_vectors, 160)

    expected = nn.functional.silu(exact(x, w1)) * exact(x, w3)

    assert_near(matrix.gate(x, w1, w3), expected, torch.float32)


@pytest.mark.parametrize("kind", ["int8-32", "int8min-16", "uint4-32"])
def test_unpacked_matrix_has_the_values_of_the_plain_path(kind: str) -> None:
    held = stored(kind, 11, 608, torch.float32)
    assert isinstance(held, QuantLinear)

    assert_near(tiles.unpack(held), held.rows(slice(None)), torch.float32)


def test_counted_numbers_are_the_same_to_the_last_bit() -> None:
    seeds = torch.tensor([0, -1, 2**63 - 1, -(2**63), 12345678901234567], device=DEVICE)
    frames = torch.tensor([0, 1, 4095, 7, 2**31], device=DEVICE)

    ours = draws.uniform_numbers(seeds, frames, 11)

    assert torch.equal(ours, uniform_numbers(seeds, frames, 11))


def sampling(num_rows: int, num_tokens: int) -> SamplingRows:
    row = torch.arange(num_rows, device=DEVICE)
    # Every edge: temperature 0, top_p 0 and 1, one token and all.
    top_k = torch.where(row % 5 == 4, num_tokens, 1 + row % 31)
    return SamplingRows(row % 4 * 0.5, row % 3 * 0.5, top_k, num_tokens)


@pytest.mark.parametrize("num_tokens", [300, 1024])
def test_codes_are_drawn_as_on_the_plain_path(num_tokens: int) -> None:
    # As bfloat16 gives them: many are equal, and the first of equals counts more.
    logits = (2 * normal(24, num_tokens)).bfloat16().float()
    uniforms = normal(24, 11).frac().abs()
    how = sampling(24, num_tokens)

    ours = draws.draw_code(logits, how, uniforms[:, 3])

    assert torch.equal(ours, row_ops.draw_code(logits, how, uniforms[:, 3]))


def test_freest_and_strictest_settings_draw_as_on_the_plain_path() -> None:
    logits = normal(12, 500)
    logits[:, ::7] *= 30
    logits[:, 3::50] = float("-inf")
    logits[1::3] = 2.0  # all alike: the first ones count more
    logits[2::3] = logits[2::3].round()
    row = torch.arange(12, device=DEVICE)
    uniforms = normal(12).frac().abs()

    for top_k in (1, 499, 500):
        # Not 0.3, which 150 of 500 tokens that are alike reach exactly, but for rounding.
        for top_p in (0.0, 0.3007, 0.9991, 1.0):
            how = SamplingRows(1 + row % 2 * 0.3, row * 0 + top_p, row * 0 + top_k, 500)
            ours = draws.draw_code(logits, how, uniforms)
            assert torch.equal(ours, row_ops.draw_code(logits, how, uniforms)), (top_k, top_p)


def test_semantic_draws_look_at_the_window_and_the_end() -> None:
    logits = (2 * normal(24, 301)).bfloat16().float()
    logits[::4, 0] = 50  # wants to end
    uniforms = normal(24, 11).frac().abs()
    how = sampling(24, 301)
    may_end = torch.arange(24, device=DEVICE) % 8 == 0
    window = torch.full((24, 10), NO_CODE, device=DEVICE)
    window[::2, 9] = logits[::2, 1:].argmax(-1)

    ours = draws.draw_semantic(logits, how, window, uniforms, may_end)

    assert torch.equal(ours, row_ops.draw_semantic(logits, how, window, uniforms, may_end))
    assert not ours[~may_end].eq(0).any()
    assert ours[may_end].eq(0).any()


def test_numbers_that_are_none_draw_some_token() -> None:
    # Rows that pad a batch may hold anything; an index out of range would end the process.
    logits = torch.full((3, 40), float("nan"), device=DEVICE)

    ours = draws.draw_code(logits, sampling(3, 40), torch.full((3,), 0.99, device=DEVICE))

    assert ((ours >= 0) & (ours < 40)).all()


def test_all_kernels_pass_the_check_at_start(caplog: pytest.LogCaptureFixture) -> None:
    ar = load_golden_model("packed").ar

    ops = use_kernels(ar.slow.layers, ar.fast.layers, triton_ops(), num_rows=(5,))

    assert not caplog.records
    assert ops == triton_ops()


def test_kernel_that_is_wrong_or_raises_is_left_out_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ar = load_golden_model().ar

    def wrong(*args: Any) -> Tensor:
        return 1.01 * row_ops.attend(*args)

    def broken(*args: Any) -> Tensor:
        raise RuntimeError("out of shared memory\nand more")

    def none(*args: Any) -> Tensor:
        return row_ops.gate(*args) * float("nan")

    faulty = replace(PLAIN, attend=wrong, add_norm=broken, gate=none, reads_filled=True)

    with caplog.at_level(logging.WARNING):
        ops = use_kernels(ar.slow.layers, ar.fast.layers, faulty, num_rows=(1,))

    assert ops == PLAIN
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 3
    assert "add_norm cannot be used here (RuntimeError: out of shared memory)" in lines[0]
    assert "attend gives wrong results" in lines[1]
    assert "gate gives wrong results" in lines[2]


@pytest.mark.skipif(DEVICE == "cuda", reason="a card is here")
def test_without_a_card_triton_is_refused_and_nothing_else_changes() -> None:
    ar = load_golden_model().ar

    assert choose_ops(ar.slow.layers, ar.fast.layers, "auto") is None
    assert choose_ops(ar.slow.layers, ar.fast.layers, "torch") is None
    with pytest.raises(EngineUnavailableError, match="FISHS2_KERNELS is triton; the device is cpu"):
        choose_ops(ar.slow.layers, ar.fast.layers, "triton")


@pytest.mark.slow
def test_every_kernel_compiles_for_cards_that_are_not_here(tmp_path: Path) -> None:
    script = Path(__file__).with_name("compile_kernels.py")
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}

    done = subprocess.run(
        [sys.executable, script, "90"], env=environment, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    compiled = done.stdout.split()
    assert {"_add_norm", "_attend", "_draw", "_few", "_join_splits", "_place_heads"} < set(compiled)
    assert {"_silu_times", "_tiles", "_uniform_numbers", "_unpack"} < set(compiled)
