"""Block types of GGUF: what their bytes mean, and the two layouts that we keep in memory.

Each type is one pure function from blocks to `Groups` (integers, group scales, group minimums),
with a golden block test. `dequantise` multiplies them out; `repack` stores them in one of two
layouts, which are all that layers and kernels have to know:

    PackedInt8    value = q * scale [- minimum]     q int8             Q8_0 Q6_K Q5_K Q5_0
    PackedUint4   value = q * scale - minimum       q 0..15, two/byte  Q4_K Q4_0 Q3_K Q2_K

Scales are float16: for types with one scale per block they are the stored numbers, for K types the
product of two stored numbers, rounded once. Source: spec 8.4, checked with kquant_golden.npz.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fishs2.engines.s2.weights.block_sizes import BLOCK_SIZES


@dataclass(frozen=True, slots=True)
class Groups:
    """Blocks taken apart. G groups of equal width per block.

    q: int8 [N, G, width]. scale: float32 [N, G], exact. minimum: float32 [N, G], exact, or None
    where the type is symmetric. value = q * scale - minimum.
    """

    q: Tensor
    scale: Tensor
    minimum: Tensor | None = None


@dataclass(frozen=True, slots=True)
class BlockType:
    """A tensor type of GGUF. unpack: None for plain floats, whose torch type is `dtype`."""

    name: str
    num_elements: int
    num_bytes: int
    unpack: Callable[[Tensor], Groups] | None = None
    dtype: torch.dtype | None = None
    is_uint4: bool = False


@dataclass(frozen=True, slots=True)
class PackedInt8:
    """q: int8 [R, C]. scale: float16 [R, C / width]. minimum: the same, or None if symmetric."""

    q: Tensor
    scale: Tensor
    minimum: Tensor | None

    @property
    def num_bytes(self) -> int:
        return self.q.numel() + 2 * self.scale.numel() * (1 if self.minimum is None else 2)


@dataclass(frozen=True, slots=True)
class PackedUint4:
    """q: uint8 [R, C / 2], even columns in the low half. scale, minimum: float16 [R, C / width]."""

    q: Tensor
    scale: Tensor
    minimum: Tensor

    @property
    def num_bytes(self) -> int:
        return self.q.numel() + 2 * (self.scale.numel() + self.minimum.numel())


Packed = PackedInt8 | PackedUint4


def _f16(blocks: Tensor, start: int) -> Tensor:
    """The float16 at byte `start` of each block: float32 [N, 1]."""
    return blocks[:, start : start + 2].contiguous().view(torch.float16).float()


def _halves(blocks: Tensor, start: int, stop: int) -> Tensor:
    """Low then high halves of the bytes: uint8 [N, 2, stop - start]."""
    chosen = blocks[:, start:stop]
    return torch.stack((chosen & 15, chosen >> 4), dim=1)


def _unpack_q8_0(blocks: Tensor) -> Groups:
    return Groups(blocks[:, None, 2:].view(torch.int8), _f16(blocks, 0))


def _unpack_q4_0(blocks: Tensor) -> Groups:
    scale = _f16(blocks, 0)
    q = _halves(blocks, 2, 18).reshape(-1, 1, 32)
    return Groups(q.view(torch.int8), scale, 8 * scale)


def _unpack_q5_0(blocks: Tensor) -> Groups:
    shifts = torch.arange(8, dtype=torch.uint8, device=blocks.device)
    high = (blocks[:, 2:6, None] >> shifts) & 1  # [N, 4, 8], bit n of the block is element n
    q = _halves(blocks, 6, 22).reshape(-1, 1, 32) | high.reshape(-1, 1, 32) << 4
    return Groups(q.view(torch.int8) - 16, _f16(blocks, 0))


def _unpack_q6_k(blocks: Tensor) -> Groups:
    low = blocks[:, :128].reshape(-1, 2, 1, 2, 32)  # [N, h, 1, g mod 2, l]
    low = torch.cat((low & 15, low >> 4), dim=2)  # [N, h, g div 2, g mod 2, l]
    shifts = torch.tensor([0, 2, 4, 6], dtype=torch.uint8, device=blocks.device)
    high = (blocks[:, 128:192].reshape(-1, 2, 1, 32) >> shifts[:, None]) & 3  # [N, h, g, l]
    q = low.reshape(-1, 16, 16) | high.reshape(-1, 16, 16) << 4
    scale = _f16(blocks, 208) * blocks[:, 192:208].view(torch.int8).float()
    return Groups(q.view(torch.int8) - 32, scale)


def _unpack_scales_k4(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and minimum of the 8 sub-blocks of Q4_K and Q5_K: float32 [N, 8] each."""
    first, second, third = blocks[:, 4:8], blocks[:, 8:12], blocks[:, 12:16]
    scale = torch.cat((first & 63, (third & 15) | (first >> 6) << 4), dim=1)
    minimum = torch.cat((second & 63, (third >> 4) | (second >> 6) << 4), dim=1)
    return _f16(blocks, 0) * scale.float(), _f16(blocks, 2) * minimum.float()


def _unpack_q4_k(blocks: Tensor) -> Groups:
    q = blocks[:, 16:].reshape(-1, 4, 1, 32)
    q = torch.cat((q & 15, q >> 4), dim=2).reshape(-1, 8, 32)  # [N, j div 2, j mod 2, l]
    return Groups(q.view(torch.int8), *_unpack_scales_k4(blocks))


def _unpack_q5_k(blocks: Tensor) -> Groups:
    low = blocks[:, 48:].reshape(-1, 4, 1, 32)
    low = torch.cat((low & 15, low >> 4), dim=2).reshape(-1, 8, 32)
    shifts = torch.arange(8, dtype=torch.uint8, device=blocks.device)
    high = (blocks[:, None, 16:48] >> shifts[:, None]) & 1  # [N, j, l]
    return Groups((low | high << 4).view(torch.int8), *_unpack_scales_k4(blocks))


def _two_bits(blocks: Tensor, start: int) -> Tensor:
    """The low two bits of Q2_K and Q3_K: uint8 [N, 16, 16] in element order."""
    shifts = torch.tensor([0, 2, 4, 6], dtype=torch.uint8, device=blocks.device)
    q = (blocks[:, start : start + 64].reshape(-1, 2, 1, 32) >> shifts[:, None]) & 3
    return q.reshape(-1, 16, 16)  # [N, h, j, l] with 32 l in 2 groups


def _unpack_q3_k(blocks: Tensor) -> Groups:
    shifts = torch.arange(8, dtype=torch.uint8, device=blocks.device)
    high = (blocks[:, None, :32] >> shifts[:, None]) & 1  # [N, 4h + j, l]
    q = _two_bits(blocks, 32) | high.reshape(-1, 16, 16) << 2
    low_scale = _halves(blocks, 96, 104).reshape(-1, 16)
    pairs = torch.tensor([0, 2, 4, 6], dtype=torch.uint8, device=blocks.device)
    high_scale = (blocks[:, None, 104:108] >> pairs[:, None]) & 3  # [N, i div 4, i mod 4]
    scale = (low_scale | high_scale.reshape(-1, 16) << 4).view(torch.int8) - 32
    product = _f16(blocks, 108) * scale.float()
    # The formula has q - 4; as a minimum of 4 scales the same numbers need no sign.
    return Groups(q.view(torch.int8), product, 4 * product)


def _unpack_q2_k(blocks: Tensor) -> Groups:
    scale = _f16(blocks, 80) * (blocks[:, :16] & 15).float()
    minimum = _f16(blocks, 82) * (blocks[:, :16] >> 4).float()
    return Groups(_two_bits(blocks, 16).view(torch.int8), scale, minimum)


def _quantised(
    kind: int, unpack: Callable[[Tensor], Groups], *, is_uint4: bool = False
) -> BlockType:
    size = BLOCK_SIZES[kind]
    return BlockType(size.name, size.num_elements, size.num_bytes, unpack, is_uint4=is_uint4)


F32 = BlockType("F32", 1, 4, dtype=torch.float32)
F16 = BlockType("F16", 1, 2, dtype=torch.float16)
BF16 = BlockType("BF16", 1, 2, dtype=torch.bfloat16)
F8 = BlockType("F8_E4M3", 1, 1, dtype=torch.float8_e4m3fn)
"""In no GGUF; in safetensors with a scale beside each matrix."""

BLOCK_TYPES: dict[int, BlockType] = {
    0: F32,
    1: F16,
    2: _quantised(2, _unpack_q4_0, is_uint4=True),
    6: _quantised(6, _unpack_q5_0),
    8: _quantised(8, _unpack_q8_0),
    10: _quantised(10, _unpack_q2_k, is_uint4=True),
    11: _quantised(11, _unpack_q3_k, is_uint4=True),
    12: _quantised(12, _unpack_q4_k, is_uint4=True),
    13: _quantised(13, _unpack_q5_k),
    14: _quantised(14, _unpack_q6_k),
    30: BF16,
}
"""By the number that stands in the file (ggml_type in ggml.h)."""


def dequantise(raw: Tensor, block: BlockType) -> Tensor:
    """The values of rows of blocks, by the formula of GGUF.

    raw: uint8 [R, row bytes]. Returns float32 [R, C], or the stored type for plain floats.
    """
    if block.unpack is None:
        assert block.dtype is not None
        return raw.view(block.dtype)
    groups = block.unpack(raw.reshape(-1, block.num_bytes))
    values = groups.q.float() * groups.scale[..., None]
    if groups.minimum is not None:
        values -= groups.minimum[..., None]
    return values.reshape(raw.shape[0], -1)


def repack(raw: Tensor, block: BlockType) -> Packed:
    """Rows of quantised blocks in the layout of their type.

    raw: uint8 [R, row bytes]. A scale that float16 cannot hold becomes infinite; the caller checks.
    """
    assert block.unpack is not None, "plain floats have no packed layout"
    groups = block.unpack(raw.reshape(-1, block.num_bytes))
    num_rows = raw.shape[0]
    q = groups.q.reshape(num_rows, -1)
    scale = groups.scale.reshape(num_rows, -1).half()
    minimum = None if groups.minimum is None else groups.minimum.reshape(num_rows, -1).half()
    if not block.is_uint4:
        return PackedInt8(q.contiguous(), scale, minimum)
    assert minimum is not None
    unsigned = q.view(torch.uint8)
    return PackedUint4(unsigned[:, ::2] | unsigned[:, 1::2] << 4, scale, minimum)


def join_rows(parts: list[Packed]) -> Packed:
    """Packed rows below each other; all parts have one layout."""
    q = torch.cat([part.q for part in parts])
    scale = torch.cat([part.scale for part in parts])
    minimums = [part.minimum for part in parts if part.minimum is not None]
    if isinstance(parts[0], PackedUint4):
        return PackedUint4(q, scale, torch.cat(minimums))
    return PackedInt8(q, scale, torch.cat(minimums) if minimums else None)


def unpack_rows(packed: Packed, dtype: torch.dtype) -> Tensor:
    """The values of packed rows: `dtype` [R, C]. Arithmetic in float32, one rounding at the end."""
    if isinstance(packed, PackedUint4):
        q = torch.stack((packed.q & 15, packed.q >> 4), dim=-1).flatten(-2)
    else:
        q = packed.q
    num_groups = packed.scale.shape[-1]
    values = q.float().reshape(q.shape[0], num_groups, -1)  # [R, C] -> [R, G, width]
    values *= packed.scale.float()[..., None]
    if packed.minimum is not None:
        values -= packed.minimum.float()[..., None]
    return values.flatten(-2).to(dtype)
