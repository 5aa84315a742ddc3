"""Named tensors that still lie in a file, each taken once and checked.

`StoredTensor` is what every reader gives (`gguf`, `safetensors`, `checkpoint`); `Weights` hands
them to the modules. Nothing is read before it is taken, and then slice by slice, so that loading
needs little more than the model itself.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fishs2.engines.s2.weights.quant import BlockType, Packed, dequantise, join_rows, repack
from fishs2.errors import EngineUnavailableError

_SLICE_ELEMENTS = 16 << 20  # 64 MB of float32 while one slice is converted
# Buffers that some exporters write and no class declares (spec 1.2, 8.2).
_IGNORED_NAME = re.compile(r"c\..*(freqs_cis|causal_mask)$")


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor that still lies in its file.

    shape: torch order. read_rows(start, stop): uint8 [stop - start, row bytes], where a row is one
    index of the first dimension; a tensor of one dimension is a single row.
    """

    name: str
    shape: tuple[int, ...]
    type: BlockType
    read_rows: Callable[[int, int], Tensor]

    @property
    def num_rows(self) -> int:
        return self.shape[0] if len(self.shape) > 1 else 1

    @property
    def num_bytes(self) -> int:
        return prod(self.shape) // self.type.num_elements * self.type.num_bytes

    def slices(self) -> Iterator[tuple[int, int]]:
        """Row ranges that cover the tensor, each of bounded size."""
        row_elements = max(1, prod(self.shape) // max(1, self.num_rows))
        step = max(1, _SLICE_ELEMENTS // row_elements)
        for start in range(0, self.num_rows, step):
            yield start, min(start + step, self.num_rows)


def read_dense(stored: StoredTensor, dtype: torch.dtype) -> Tensor:
    """All values as `dtype`, in the shape of the tensor."""
    values = torch.empty((stored.num_rows, prod(stored.shape) // stored.num_rows), dtype=dtype)
    for start, stop in stored.slices():
        values[start:stop] = dequantise(stored.read_rows(start, stop), stored.type)
    return values.reshape(stored.shape)


def read_packed(stored: StoredTensor) -> Packed:
    """The quantised rows in our layout. Raises EngineUnavailableError for a damaged scale."""
    packed = join_rows(
        [repack(stored.read_rows(start, stop), stored.type) for start, stop in stored.slices()]
    )
    for part in (packed.scale, packed.minimum):
        if part is not None and not part.isfinite().all():
            raise EngineUnavailableError(
                f"tensor {stored.name!r} has a scale that is not a finite number; the file is "
                "damaged"
            )
    return packed


class Weights:
    """The tensors of one model file or folder, handed out once each.

    file: its name, for messages. metadata: GGUF values or the official config.
    """

    def __init__(
        self, file: str, tensors: Mapping[str, StoredTensor], metadata: Mapping[str, object]
    ) -> None:
        self.file = file
        self.tensors = tensors
        self.metadata = metadata
        self._left = {name for name in tensors if not _IGNORED_NAME.fullmatch(name)}

    def take(self, name: str, shape: tuple[int, ...]) -> StoredTensor:
        """The tensor `name`, which must have `shape` and must not have been taken before."""
        stored = self.tensors.get(name)
        if stored is None:
            raise EngineUnavailableError(
                f"{self.file} has no tensor {name!r}; expected one of shape {list(shape)}"
            )
        if stored.shape != shape:
            raise EngineUnavailableError(
                f"{self.file}: tensor {name!r} has shape {list(stored.shape)}; expected "
                f"{list(shape)}"
            )
        assert name in self._left, f"{name} taken twice"
        self._left.remove(name)
        return stored

    def check_all_taken(self, *, codec: bool) -> None:
        """Raise EngineUnavailableError if a tensor was left over; of the codec only if `codec`."""
        left = sorted(name for name in self._left if codec or not name.startswith("c."))
        if left:
            raise EngineUnavailableError(
                f"{self.file} has {len(left)} tensors that the model does not use, the first is "
                f"{left[0]!r}; the file is for another model or version"
            )


def read_from_file(path: Path, *, offset_bytes: int, num_rows: int, row_bytes: int) -> Tensor:
    """uint8 [num_rows, row_bytes] of the file from `offset_bytes` on.

    Plain reads instead of a memory map: the pages do not count as memory of this process, and a
    file that shrinks gives an error instead of a bus fault.
    """
    num_bytes = num_rows * row_bytes
    buffer = np.empty(num_bytes, np.uint8)
    view, done = buffer.data, 0
    with path.open("rb", buffering=0) as file:
        file.seek(offset_bytes)
        while done < num_bytes:
            count = file.readinto(view[done:])
            if not count:
                raise EngineUnavailableError(
                    f"{path.name} ends at byte {offset_bytes + done}; expected "
                    f"{num_bytes - done} more"
                )
            done += count
    return torch.from_numpy(buffer).view(num_rows, row_bytes)


def stored_in_file(
    path: Path, name: str, *, shape: tuple[int, ...], kind: BlockType, offset_bytes: int
) -> StoredTensor:
    """The tensor that lies at `offset_bytes` of the file at `path`."""
    num_rows = shape[0] if len(shape) > 1 else 1
    row_bytes = prod(shape) // max(1, num_rows) // kind.num_elements * kind.num_bytes

    def read_rows(start: int, stop: int) -> Tensor:
        return read_from_file(
            path,
            offset_bytes=offset_bytes + start * row_bytes,
            num_rows=stop - start,
            row_bytes=row_bytes,
        )

    return StoredTensor(name, shape, kind, read_rows)


def stored_in_memory(name: str, values: Tensor, kind: BlockType) -> StoredTensor:
    """A plain float tensor that is loaded or mapped already."""

    def read_rows(start: int, stop: int) -> Tensor:
        rows = values if values.dim() < 2 else values[start:stop]
        flat: Tensor = rows.reshape(stop - start, -1).contiguous().view(torch.uint8)
        return flat

    return StoredTensor(name, tuple(values.shape), kind, read_rows)
