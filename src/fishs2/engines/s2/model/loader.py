"""Hands weights from a file to the modules as they are built.

A module asks for each of its tensors by name and shape; a tensor is read, converted and moved when
it is asked for, so no second copy of the model ever exists.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from fishs2.engines.s2.model.linear import Embedding, Linear, QuantEmbedding, QuantLinear
from fishs2.engines.s2.weights.quant import Packed, PackedInt8, PackedUint4
from fishs2.engines.s2.weights.tensors import StoredTensor, Weights, read_dense, read_packed

WeightsMode = Literal["dense", "packed"]
CPU = torch.device("cpu")
Progress = Callable[[int], None]
"""Called with the bytes of each tensor once it is loaded."""


def ignore_progress(num_bytes: int) -> None:
    """For callers that show none."""


@dataclass(frozen=True, slots=True)
class Loader:
    """Builds layers from the tensors of one file.

    dtype: compute type of matrices. mode: keep quantised matrices packed, or multiply them out.
    """

    weights: Weights
    dtype: torch.dtype = torch.float32
    mode: WeightsMode = "dense"
    device: torch.device = CPU
    on_progress: Progress = ignore_progress

    def vector(self, name: str, shape: tuple[int, ...]) -> nn.Parameter:
        """A norm, bias, table or convolution: always float32, for exact statistics."""
        stored = self.weights.take(name, shape)
        values = read_dense(stored, torch.float32).to(self.device)
        self.on_progress(stored.num_bytes)
        return nn.Parameter(values, requires_grad=False)

    def linear(self, name: str, shape: tuple[int, int]) -> Linear | QuantLinear:
        """A matrix [out, in] without bias."""
        loaded = self._matrix(self.weights.take(name, shape))
        if isinstance(loaded, Tensor):
            return Linear(loaded)
        return QuantLinear(loaded, self.dtype)

    def embedding(self, name: str, shape: tuple[int, int]) -> Embedding | QuantEmbedding:
        """A table of rows [ids, width]."""
        loaded = self._matrix(self.weights.take(name, shape))
        if isinstance(loaded, Tensor):
            return Embedding(loaded)
        return QuantEmbedding(loaded, self.dtype)

    def _matrix(self, stored: StoredTensor) -> Tensor | Packed:
        loaded: Tensor | Packed
        if self.mode == "packed" and stored.type.unpack is not None:
            loaded = _move(read_packed(stored), self.device)
        else:
            loaded = read_dense(stored, self.dtype).to(self.device)
        self.on_progress(stored.num_bytes)
        return loaded


def _move(packed: Packed, device: torch.device) -> Packed:
    if isinstance(packed, PackedUint4):
        return PackedUint4(packed.q.to(device), packed.scale.to(device), packed.minimum.to(device))
    minimum = None if packed.minimum is None else packed.minimum.to(device)
    return PackedInt8(packed.q.to(device), packed.scale.to(device), minimum)
