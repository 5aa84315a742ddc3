"""The sizes of GGUF's tensor types; no torch. `quant` gives them their meaning."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BlockSize:
    """A type. num_elements, num_bytes: of a block. packed_bytes: of a block as we keep it packed,
    in `quant`'s layouts; plain floats are bfloat16 then.
    """

    name: str
    num_elements: int
    num_bytes: int
    packed_bytes: int


BLOCK_SIZES = {
    0: BlockSize("F32", 1, 4, 2),
    1: BlockSize("F16", 1, 2, 2),
    2: BlockSize("Q4_0", 32, 18, 20),
    6: BlockSize("Q5_0", 32, 22, 34),
    8: BlockSize("Q8_0", 32, 34, 34),
    10: BlockSize("Q2_K", 256, 84, 192),
    11: BlockSize("Q3_K", 256, 110, 192),
    12: BlockSize("Q4_K", 256, 144, 160),
    13: BlockSize("Q5_K", 256, 176, 288),
    14: BlockSize("Q6_K", 256, 210, 288),
    30: BlockSize("BF16", 1, 2, 2),
}
"""By the number that stands in the file. Source: ggml_type and the block structs in ggml.h."""
