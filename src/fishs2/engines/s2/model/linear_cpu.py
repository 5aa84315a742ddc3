"""Packed matrices times a few vectors on a CPU, by kernels that numba compiles.

A row is multiplied where it lies: its bytes are read once, and no unpacked copy goes through
memory. Arithmetic in float32, summed in another order than the plain path does. Compiled on first
use and kept in numba's cache.
"""

from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# GNU and Intel OpenMP let go of the processor between torch's loops and these; numba's own pool
# does not, and slows torch down eightfold.
_config: Any = numba.config
_config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]

MAX_VECTORS = 12
"""Above so many, unpacking a block and multiplying it by all of them at once is faster."""

_TASK_ROWS = 64
_HALF_TO_FLOAT = np.float32(2.0**112)
"""The exponent's bias of float32 over that of float16."""

Floats = NDArray[np.float32]
Bits = NDArray[np.uint16]


def multiply_int8(
    x: Tensor, q: Tensor, scale: Tensor, minimum: Tensor | None, num_threads: int
) -> Tensor:
    """x W^T for `quant.PackedInt8`. x: float32 [B, C]. Returns float32 [B, R]."""
    y = torch.empty(x.shape[0], q.shape[0])
    values = x.contiguous().numpy()
    numba.set_num_threads(min(num_threads, _config.NUMBA_NUM_THREADS))
    _multiply_int8(
        values, q.numpy(), _bits(scale), _bits(minimum), _group_sums(values, minimum), y.numpy()
    )
    return y


def multiply_uint4(
    x: Tensor, q: Tensor, scale: Tensor, minimum: Tensor, num_threads: int
) -> Tensor:
    """x W^T for `quant.PackedUint4`. x: float32 [B, C]. Returns float32 [B, R]."""
    y = torch.empty(x.shape[0], q.shape[0])
    values = x.contiguous().numpy()
    numba.set_num_threads(min(num_threads, _config.NUMBA_NUM_THREADS))
    _multiply_uint4(
        np.ascontiguousarray(values[:, ::2]),
        np.ascontiguousarray(values[:, 1::2]),
        q.numpy(),
        _bits(scale),
        _bits(minimum),
        _group_sums(values, minimum),
        y.numpy(),
    )
    return y


def _bits(halves: Tensor | None) -> Bits:
    """float16 as the integers that it is made of; numba knows no float16."""
    if halves is None:
        return np.empty((0, 0), np.uint16)
    bits: Bits = halves.view(torch.uint16).numpy()
    return bits


def _group_sums(values: Floats, minimum: Tensor | None) -> Floats:
    """What a group's minimum is multiplied by: the sum of the vector over that group."""
    if minimum is None:
        return np.empty((len(values), 0), np.float32)
    sums: Floats = values.reshape(len(values), minimum.shape[1], -1).sum(-1)
    return sums


@numba.njit(inline="always", fastmath=True)
def _to_floats(bits: Bits, integers: NDArray[np.int32], floats: Floats) -> None:
    """float16 bits to float32; `floats` is the memory of `integers`."""
    for g in range(bits.shape[0]):
        half = np.int32(bits[g])
        integers[g] = ((half & 0x8000) << 16) | ((half & 0x7FFF) << 13)
    for g in range(bits.shape[0]):
        floats[g] *= _HALF_TO_FLOAT


@numba.njit(parallel=True, nogil=True, fastmath=True, cache=True)
def _multiply_int8(
    x: Floats, q: NDArray[np.int8], scale: Bits, minimum: Bits, sums: Floats, y: Floats
) -> None:
    num_rows, num_columns = q.shape
    num_groups = scale.shape[1]
    is_wide = num_columns // num_groups == 32
    for task in numba.prange((num_rows + _TASK_ROWS - 1) // _TASK_ROWS):
        integers = np.empty(num_groups, np.int32)
        floats = integers.view(np.float32)
        for r in range(task * _TASK_ROWS, min(num_rows, (task + 1) * _TASK_ROWS)):
            row = q[r]
            _to_floats(scale[r], integers, floats)
            for b in range(x.shape[0]):
                vector = x[b]
                total = np.float32(0)
                # The width of a group as a constant: the loop is ten times as fast.
                if is_wide:
                    for k in range(num_columns):
                        total += vector[k] * np.float32(row[k]) * floats[k >> 5]
                else:
                    for k in range(num_columns):
                        total += vector[k] * np.float32(row[k]) * floats[k >> 4]
                y[b, r] = total
            if sums.shape[1]:
                _to_floats(minimum[r], integers, floats)
                for b in range(x.shape[0]):
                    below = np.float32(0)
                    for g in range(num_groups):
                        below += sums[b, g] * floats[g]
                    y[b, r] -= below


@numba.njit(parallel=True, nogil=True, fastmath=True, cache=True)
def _multiply_uint4(
    even: Floats,
    odd: Floats,
    q: NDArray[np.uint8],
    scale: Bits,
    minimum: Bits,
    sums: Floats,
    y: Floats,
) -> None:
    num_rows, num_pairs = q.shape
    num_groups = scale.shape[1]
    is_wide = 2 * num_pairs // num_groups == 32
    for task in numba.prange((num_rows + _TASK_ROWS - 1) // _TASK_ROWS):
        integers = np.empty(num_groups, np.int32)
        floats = integers.view(np.float32)
        for r in range(task * _TASK_ROWS, min(num_rows, (task + 1) * _TASK_ROWS)):
            row = q[r]
            _to_floats(scale[r], integers, floats)
            for b in range(even.shape[0]):
                low, high = even[b], odd[b]
                total = np.float32(0)
                if is_wide:
                    for k in range(num_pairs):
                        pair = row[k]
                        value = low[k] * np.float32(pair & 15) + high[k] * np.float32(pair >> 4)
                        total += value * floats[k >> 4]
                else:
                    for k in range(num_pairs):
                        pair = row[k]
                        value = low[k] * np.float32(pair & 15) + high[k] * np.float32(pair >> 4)
                        total += value * floats[k >> 3]
                y[b, r] = total
            _to_floats(minimum[r], integers, floats)
            for b in range(even.shape[0]):
                below = np.float32(0)
                for g in range(num_groups):
                    below += sums[b, g] * floats[g]
                y[b, r] -= below
