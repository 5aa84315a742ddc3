"""One check per decode op: inputs of the model's own sizes, and what is to be compared.

`device.choose_ops` runs each twice, for the kernels and for plain PyTorch. Inputs are counted, so
both runs see the same.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from fishs2.engines.s2.device.ops import RowOps, RowPlaces
from fishs2.engines.s2.model.layers import Block
from fishs2.engines.s2.model.linear import Linear, QuantLinear
from fishs2.engines.s2.model.sampler import NO_CODE, RAS_WINDOW, SamplingRows

Check = Callable[[RowOps], Iterator[Tensor]]
"""Runs one op in some ways; what it yields is compared."""

NUM_ROWS = (1, 2, 3, 4, 8, 20, 40, 100)
"""Covers every variant that the kernels choose by number of rows."""
_MANY_ROWS = 300
"""More than packed matrices are multiplied by where they lie."""
_FAST_SPAN, _SPAN, _LONG_SPAN = 10, 300, 4_096
"""Positions of a cache: of the fast AR, of many rows, and of few, whose attention is split."""
_FEW_ROWS = 4
_PIECE_TOKENS = 77
"""Of a prompt: several blocks of queries, and some of one."""


def checks(
    slow: nn.ModuleList, fast: nn.ModuleList, num_rows: tuple[int, ...] = NUM_ROWS
) -> dict[str, Check]:
    """By the name of the field of `RowOps`. slow, fast: the blocks of both stacks."""
    bench = _Bench(slow, fast, num_rows)
    return {
        "add_norm": bench.add_norm,
        "place_heads": bench.place_heads,
        "attend": bench.attend,
        "attend_piece": bench.attend_piece,
        "multiply": bench.multiply,
        "multiply_parts": bench.multiply_parts,
        "gate": bench.gate,
        "uniform_numbers": bench.uniform_numbers,
        "draw_code": bench.draw_code,
        "draw_semantic": bench.draw_semantic,
    }


@dataclass(frozen=True, slots=True, eq=False)
class _Bench:
    """The blocks of a model, and numbers of rows to try."""

    slow: nn.ModuleList
    fast: nn.ModuleList
    num_rows: tuple[int, ...]

    @property
    def stacks(self) -> tuple[Block, Block]:
        first, other = self.slow[0], self.fast[0]
        assert isinstance(first, Block)
        assert isinstance(other, Block)
        return first, other

    @property
    def dtype(self) -> torch.dtype:
        wqkv = self.stacks[0].attention.wqkv
        return wqkv.weight.dtype if isinstance(wqkv, Linear) else wqkv.dtype

    def normal(self, *shape: int) -> Tensor:
        """The same float32 numbers for the same shape, on the device."""
        device = self.stacks[0].attention_norm.weight.device
        seeded = torch.Generator(device).manual_seed(prod(shape))
        return torch.randn(shape, generator=seeded, device=device)

    def add_norm(self, ops: RowOps) -> Iterator[Tensor]:
        norm = self.stacks[0].attention_norm
        for num_rows in self.num_rows:
            for num_parts in range(5):
                x = self.normal(num_rows, norm.weight.shape[0])
                parts = self.normal(num_parts, *x.shape) if num_parts else None
                yield ops.add_norm(x, parts, norm, self.dtype)
                yield x
            yield ops.add_norm(x, self.normal(1, *x.shape).to(self.dtype), norm, torch.float32)

    def place_heads(self, ops: RowOps) -> Iterator[Tensor]:
        for block in self.stacks:
            config = block.attention.config
            num_heads = config.num_heads + 2 * config.num_kv_heads
            rope = self.normal(_SPAN, config.head_dim // 2, 2)
            for num_rows in self.num_rows:
                at, keys, values = self._cache(block, num_rows, _SPAN)
                mixed = self.normal(num_rows, num_heads * config.head_dim).to(self.dtype)
                yield ops.place_heads(mixed, block.attention, at, rope, keys, values)
                for cache in (keys, values):
                    yield cache[at.cache_row, :, at.position]
                    yield cache

    def attend(self, ops: RowOps) -> Iterator[Tensor]:
        config = self.stacks[0].attention.config
        for num_rows in self.num_rows:
            for span in (_FAST_SPAN, _LONG_SPAN if num_rows <= _FEW_ROWS else _SPAN):
                at, keys, values = self._cache(self.stacks[0], num_rows, span)
                q = self.normal(num_rows, config.num_heads, config.head_dim).to(self.dtype)
                yield ops.attend(q, keys, values, at)

    def attend_piece(self, ops: RowOps) -> Iterator[Tensor]:
        config = self.stacks[0].attention.config
        for num_tokens in (1, _PIECE_TOKENS):
            keys = self.normal(1, config.num_kv_heads, _SPAN, config.head_dim)
            position = torch.arange(_SPAN - num_tokens, _SPAN, device=keys.device)
            at = RowPlaces(torch.zeros_like(position), position, position, position + 1, _SPAN)
            q = self.normal(num_tokens, config.num_heads, config.head_dim).to(self.dtype)
            yield ops.attend_piece(q, keys.to(self.dtype), (keys + 1).to(self.dtype), at)

    def multiply(self, ops: RowOps) -> Iterator[Tensor]:
        for matrix, x in self._products():
            yield ops.multiply(x, matrix)

    def multiply_parts(self, ops: RowOps) -> Iterator[Tensor]:
        for matrix, x in self._products():
            # Parts are float32; the plain whole is rounded once, to the compute type.
            yield ops.multiply_parts(x, matrix).float().sum(0).to(self.dtype)

    def gate(self, ops: RowOps) -> Iterator[Tensor]:
        kinds = {}
        for block in (*self.slow, *self.fast):
            assert isinstance(block, Block)
            forward = block.feed_forward
            kinds[_kind(forward.w1), _kind(forward.w3)] = forward
        for forward in kinds.values():
            for num_rows in self.num_rows:
                x = self.normal(num_rows, _num_columns(forward.w1)).to(self.dtype)
                yield ops.gate(x, forward.w1, forward.w3)

    def uniform_numbers(self, ops: RowOps) -> Iterator[Tensor]:
        seeds = (self.normal(200) * 1e18).long()
        # As integers, so that they must be the same and not only near.
        yield (ops.uniform_numbers(seeds, seeds % 5_000, 11) * 2**24).long()

    def draw_code(self, ops: RowOps) -> Iterator[Tensor]:
        logits, sampling, uniforms = self._draws()
        yield ops.draw_code(logits[:, 1:], sampling, uniforms[:, 3])

    def draw_semantic(self, ops: RowOps) -> Iterator[Tensor]:
        logits, sampling, uniforms = self._draws()
        window = torch.full((len(logits), RAS_WINDOW), NO_CODE, device=logits.device)
        window[::2, 3] = logits[::2, 1:].argmax(-1)
        yield ops.draw_semantic(logits, sampling, window, uniforms, uniforms[:, 0] > 0.5)

    def _cache(self, block: Block, num_rows: int, span: int) -> tuple[RowPlaces, Tensor, Tensor]:
        """Places in a cache of which every row is filled up to another position."""
        config = block.attention.config
        keys = self.normal(num_rows + 1, config.num_kv_heads, span, config.head_dim)
        row = torch.arange(num_rows, device=keys.device)
        position = row * 37 % span if num_rows > 1 else row + span - 3
        at = RowPlaces(row.flip(0), position, position, position + 1, span)
        return at, keys.to(self.dtype), (keys + 1).to(self.dtype)

    def _products(self) -> Iterator[tuple[Linear | QuantLinear, Tensor]]:
        """Every kind of matrix in the model, with vectors [N, C] for it."""
        kinds = {}
        for module in (*self.slow.modules(), *self.fast.modules()):
            if isinstance(module, Linear | QuantLinear):
                kinds[_kind(module)] = module
        for matrix in kinds.values():
            # Unpacking for many is tried where all is tried, not in a quick check.
            more = (_MANY_ROWS,) if self.num_rows == NUM_ROWS else ()
            for num_rows in (*self.num_rows, *more):
                yield matrix, self.normal(num_rows, _num_columns(matrix)).to(self.dtype)

    def _draws(self) -> tuple[Tensor, SamplingRows, Tensor]:
        """Logits of many rows in the compute type, all settings, random numbers [N, 11]."""
        num_rows = 4 * max(self.num_rows)
        logits = (3 * self.normal(num_rows, 4_097)).to(self.dtype)
        row = torch.arange(num_rows, device=logits.device)
        sampling = SamplingRows(row % 7 * 0.25, row % 6 * 0.2, 1 + row % 60, logits.shape[1])
        uniforms = self.normal(num_rows, 11).frac().abs()
        return logits, sampling, uniforms


def _kind(matrix: Linear | QuantLinear) -> tuple[object, ...]:
    """Matrices of one kind run through the same code."""
    if isinstance(matrix, Linear):
        return tuple(matrix.weight.shape)
    width = matrix.num_columns // matrix.scale.shape[1]
    shape = matrix.num_rows, matrix.num_columns
    return (*shape, matrix.is_uint4, matrix.minimum is None, width)


def _num_columns(matrix: Linear | QuantLinear) -> int:
    return matrix.weight.shape[1] if isinstance(matrix, Linear) else matrix.num_columns
