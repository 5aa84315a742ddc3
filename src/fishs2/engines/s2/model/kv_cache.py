"""Keys and values of earlier positions: plain tensors that the caller owns and passes in.

Entries that were never written may hold anything, NaN included: attention reads none of them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from fishs2.engines.s2.weights.config import TransformerConfig


@dataclass(frozen=True, slots=True, eq=False)
class KvCache:
    """Caches of one stack. keys, values: per layer [B, H, P, d] in the compute type.

    Row b belongs to batch row b. There is nothing to reset: what lies at and after a row's next
    position is not read before it is written.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    @property
    def num_positions(self) -> int:
        return self.keys[0].shape[2]

    def rows(self, start: int, stop: int) -> "KvCache":
        """The same memory, seen as a cache of some rows."""
        return KvCache(
            tuple(each[start:stop] for each in self.keys),
            tuple(each[start:stop] for each in self.values),
        )


def allocate_kv_cache(
    config: TransformerConfig,
    num_rows: int,
    num_positions: int,
    *,
    dtype: torch.dtype,
    device: torch.device,
) -> KvCache:
    """A cache with nothing written. Bytes: 2 * layers * rows * KV heads * positions * head size."""
    shape = (num_rows, config.num_kv_heads, num_positions, config.head_dim)
    return KvCache(
        tuple(torch.empty(shape, dtype=dtype, device=device) for _ in range(config.num_layers)),
        tuple(torch.empty(shape, dtype=dtype, device=device) for _ in range(config.num_layers)),
    )
