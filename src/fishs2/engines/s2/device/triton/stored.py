"""A matrix as the kernels see it: tensors, sizes and one of three layouts."""

from dataclasses import dataclass

from torch import Tensor

from fishs2.engines.s2.model.linear import Linear, PackedRows

DENSE, INT8, UINT4 = 0, 1, 2


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """A matrix as the kernels see it. width: columns per scale."""

    kind: int
    q: Tensor
    scale: Tensor
    minimum: Tensor
    has_minimum: bool
    num_rows: int
    num_columns: int
    width: int


def describe(matrix: Linear | PackedRows) -> Stored:
    if isinstance(matrix, Linear):
        weight = matrix.weight
        num_rows, num_columns = weight.shape
        return Stored(DENSE, weight, weight, weight, False, num_rows, num_columns, 32)
    minimum = matrix.minimum
    return Stored(
        UINT4 if matrix.is_uint4 else INT8,
        matrix.q,
        matrix.scale,
        matrix.scale if minimum is None else minimum,
        minimum is not None,
        matrix.num_rows,
        matrix.num_columns,
        matrix.num_columns // matrix.scale.shape[1],
    )


def part_columns_of(stored: Stored, num_parts: int, block: int) -> int:
    """Columns of one part: whole blocks."""
    columns = -(-stored.num_columns // num_parts)
    return -(-columns // block) * block
