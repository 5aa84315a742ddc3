"""A random-weight S2 model made where it runs, without a file: seconds instead of minutes."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import prod, sqrt
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from benchmarks.make_model import Size, tokenizer_json
from fishs2.engines.s2.device.choose_ops import Kernels, choose_ops
from fishs2.engines.s2.device.model import Model
from fishs2.engines.s2.device.ops import PLAIN, RowOps
from fishs2.engines.s2.model.codec import Codec
from fishs2.engines.s2.model.fast_ar import FastAr
from fishs2.engines.s2.model.linear import Embedding, Linear, QuantEmbedding, QuantLinear
from fishs2.engines.s2.model.loader import Loader
from fishs2.engines.s2.model.slow_ar import SlowAr
from fishs2.engines.s2.model.step import DualAr
from fishs2.engines.s2.model.tokenizer import load_tokenizer
from fishs2.engines.s2.weights.quant import Packed, PackedInt8, PackedUint4
from fishs2.engines.s2.weights.tensors import Weights

Width = Literal["bf16", "q8_0", "q4_0"]
_GROUP = 32


@dataclass(frozen=True, slots=True)
class RandomLoader(Loader):
    """Makes what the modules ask for, on their device, such that signals keep their size."""

    width: Width = "bf16"
    generators: list[torch.Generator] = field(default_factory=list)

    def vector(self, name: str, shape: tuple[int, ...]) -> nn.Parameter:
        if name.endswith("bias"):
            values = torch.zeros(shape, device=self.device)
        elif "norm" in name or name.endswith("alpha"):
            values = torch.ones(shape, device=self.device)
        elif name.endswith("gamma"):
            values = torch.full(shape, 0.1, device=self.device)
        else:
            values = self._normal(shape) / sqrt(prod(shape[1:]) or 1)
        return nn.Parameter(values, requires_grad=False)

    def linear(self, name: str, shape: tuple[int, int]) -> Linear | QuantLinear:
        if self.width == "bf16":
            return Linear((self._normal(shape) / sqrt(shape[1])).to(self.dtype))
        return QuantLinear(self._packed(shape, 1 / sqrt(shape[1])), self.dtype)

    def embedding(self, name: str, shape: tuple[int, int]) -> Embedding | QuantEmbedding:
        # Tied head: logits with a deviation of 3 from hidden states of norm sqrt(D).
        std = (3.0 if name.startswith("embeddings") else 1.0) / sqrt(shape[1])
        if self.width == "bf16":
            weight = torch.empty(shape, dtype=self.dtype, device=self.device)
            weight.normal_(0, std, generator=self._generator)
            return Embedding(weight)
        return QuantEmbedding(self._packed(shape, std), self.dtype)

    @property
    def _generator(self) -> torch.Generator | None:
        if self.device.type == "meta":
            return None  # shapes alone
        if not self.generators:
            self.generators.append(torch.Generator(self.device).manual_seed(0))
        return self.generators[0]

    def _normal(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=self._generator, device=self.device)

    def _bytes(self, high: int, shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
        low = -127 if dtype == torch.int8 else 0
        return torch.randint(
            low, high, shape, dtype=dtype, device=self.device, generator=self._generator
        )

    def _packed(self, shape: tuple[int, int], std: float) -> Packed:
        """As Q8_0 and Q4_0 are packed: 74 and 4.6 are the deviations of their integers."""
        num_rows, num_columns = shape
        groups = (num_rows, num_columns // _GROUP)
        half = torch.float16
        if self.width == "q8_0":
            scale = torch.full(groups, std / 74, dtype=half, device=self.device)
            return PackedInt8(self._bytes(128, shape, torch.int8), scale, None)
        scale = torch.full(groups, std / 4.6, dtype=half, device=self.device)
        pairs = self._bytes(256, (num_rows, num_columns // 2), torch.uint8)
        return PackedUint4(pairs, scale, 7.5 * scale)


def make_random_model(
    size: Size,
    width: Width,
    device: torch.device,
    *,
    dtype: torch.dtype | None = None,
    kernels: Kernels = "auto",
) -> Model:
    """A model of that size. dtype: of the ARs; None is bfloat16 on a card, float32 elsewhere."""
    is_card = device.type == "cuda"
    dtype = dtype or (torch.bfloat16 if is_card else torch.float32)
    load = RandomLoader(Weights("random", {}, {}), dtype=dtype, device=device, width=width)
    slow, fast = SlowAr(size.ar, load, end_id=size.end_id), FastAr(size.ar, load)
    # As `load_model` makes it: dense float32 whatever the ARs are.
    codec = Codec(size.codec, replace(load, dtype=torch.float32, width="bf16"))
    ops: RowOps | None = choose_ops(slow.layers, fast.layers, kernels) if is_card else PLAIN
    ar = DualAr(size.ar, slow, fast, size.end_id, dtype, device)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "tokenizer.json"
        path.write_text(json.dumps(tokenizer_json(size)), encoding="utf-8")
        return Model(ar, codec, load_tokenizer(path), ops)


def with_plain_ops(model: Model) -> Model:
    """The same weights without Triton. The matrices are shared: use one of both at a time."""
    use_product(model, None)
    return replace(model, ops=PLAIN)


def use_product(
    model: Model, product: Callable[[Tensor, Linear | QuantLinear], Tensor] | None
) -> None:
    """Tell the packed matrices of a model what multiplies them."""
    for module in (*model.ar.slow.modules(), *model.ar.fast.modules()):
        if isinstance(module, QuantLinear):
            module.product = product


def frame_bytes(model: Model) -> int:
    """Bytes of weights that one frame has to read: slow AR and head once, fast AR nine times."""
    ar = model.ar
    slow = _bytes_of(ar.slow.layers) + ar.slow.head.nbytes
    fast = _bytes_of(ar.fast.layers) + _bytes_of(ar.fast.output)
    return slow + (ar.config.num_codebooks - 1) * fast


def _bytes_of(module: nn.Module) -> int:
    return sum(each.nbytes for each in (*module.parameters(), *module.buffers()))
