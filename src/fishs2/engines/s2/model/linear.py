"""Matrices and tables, dense or packed, behind one call each.

A packed matrix is multiplied out block by block here: plain PyTorch, right on every device, and the
reference for faster kernels (`model.linear_cpu`). Inputs may have any float type; outputs have the
compute type.
"""

from collections.abc import Callable
from functools import cache
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fishs2.engines.s2.weights.quant import Packed, PackedInt8, PackedUint4, unpack_rows

try:
    from fishs2.engines.s2.model import linear_cpu as _linear_cpu
except ImportError:  # numba is not made for every Python and machine
    linear_cpu: ModuleType | None = None
else:
    linear_cpu = _linear_cpu

# Unpacked rows that are in flight at once: 4 MB of float32, which stays in a CPU's cache.
_BLOCK_ELEMENTS = 1 << 20


@cache
def has_fast_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 itself."""
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # not in every version
    return supported is not None and bool(supported())


class Linear(nn.Module):
    """y = x W^T without bias. weight: compute type [R, C]."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """x: [..., C]. Returns compute type [..., R]."""
        return F.linear(x.to(self.weight.dtype), self.weight)


class PackedRows(nn.Module):
    """Packed rows as buffers, so that they follow the module to its device."""

    def __init__(self, packed: Packed, dtype: torch.dtype) -> None:
        super().__init__()
        self.q: Tensor
        self.scale: Tensor
        self.minimum: Tensor | None
        self.register_buffer("q", packed.q)
        self.register_buffer("scale", packed.scale)
        self.register_buffer("minimum", packed.minimum)
        self.dtype = dtype
        self.num_rows, self.num_columns = packed.q.shape[0], packed.q.shape[1]
        self.is_uint4 = isinstance(packed, PackedUint4)
        if self.is_uint4:
            self.num_columns *= 2

    def rows(self, chosen: slice | Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """The values of some rows: [n, C] in the compute type, or in `dtype`."""
        minimum = None if self.minimum is None else self.minimum[chosen]
        packed: Packed
        if self.is_uint4:
            assert minimum is not None
            packed = PackedUint4(self.q[chosen], self.scale[chosen], minimum)
        else:
            packed = PackedInt8(self.q[chosen], self.scale[chosen], minimum)
        return unpack_rows(packed, dtype or self.dtype)


class QuantLinear(PackedRows):
    """y = x W^T with W packed.

    product: [N, C], matrix -> [N, R]; what multiplies on a card, once it was tested there. None
    unpacks the matrix.
    """

    product: Callable[[Tensor, "Linear | QuantLinear"], Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """x: [..., C]. Returns compute type [..., R]."""
        if self.product is not None:
            vectors = x.to(self.dtype).reshape(-1, self.num_columns)
            return self.product(vectors, self).reshape(*x.shape[:-1], self.num_rows)
        if self.q.device.type != "cpu":
            return F.linear(x.to(self.dtype), self.rows(slice(None)))
        if linear_cpu is not None and x.numel() <= linear_cpu.MAX_VECTORS * self.num_columns:
            return self._multiply_where_it_lies(x.float())
        # A CPU computes in float32, unless it multiplies bfloat16 twice as fast.
        is_fast = self.dtype == torch.bfloat16 and has_fast_bfloat16()
        dtype = torch.bfloat16 if is_fast else torch.float32
        x = x.to(dtype)
        step = max(1, _BLOCK_ELEMENTS // self.num_columns)
        parts = [
            F.linear(x, self.rows(slice(start, start + step), dtype))
            for start in range(0, self.num_rows, step)
        ]
        return torch.cat(parts, dim=-1).to(self.dtype)

    def _multiply_where_it_lies(self, x: Tensor) -> Tensor:
        assert linear_cpu is not None
        vectors, threads = x.reshape(-1, self.num_columns), torch.get_num_threads()
        y: Tensor
        if self.is_uint4:
            y = linear_cpu.multiply_uint4(vectors, self.q, self.scale, self.minimum, threads)
        else:
            y = linear_cpu.multiply_int8(vectors, self.q, self.scale, self.minimum, threads)
        return y.reshape(*x.shape[:-1], self.num_rows).to(self.dtype)


class Embedding(nn.Module):
    """A table of rows. weight: compute type [R, C]."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, ids: Tensor) -> Tensor:
        """ids: integer [...]. Returns compute type [..., C]."""
        return self.weight[ids]

    def rows(self, chosen: slice | Tensor) -> Tensor:
        return self.weight[chosen]


class QuantEmbedding(PackedRows):
    """A packed table; only the rows asked for are unpacked."""

    def forward(self, ids: Tensor) -> Tensor:
        """ids: integer [...]. Returns compute type [..., C]."""
        return self.rows(ids.reshape(-1)).reshape(*ids.shape, self.num_columns)
