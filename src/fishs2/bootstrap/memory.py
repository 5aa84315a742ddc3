"""What S2 Pro takes on a graphics card, by quantisation: more than its file.

The file is packed for a disk. On a card scales are float16 and groups have a power of two of bits,
and the codec is float32, so a smaller file may take more.
"""

WEIGHT_BYTES = {
    "f16": 10_760_000_000,
    "q8_0": 6_480_000_000,
    "q6_k": 6_770_000_000,
    "q5_k_m": 6_770_000_000,
    "q4_k_m": 4_980_000_000,
    "q3_k": 5_060_000_000,
    "q2_k": 5_060_000_000,
}
"""Weights of ARs and codec once they are loaded, best first. tests/bootstrap/test_memory.py packs
one block of each type of the published files and adds up."""

POSITION_BYTES = 2 * 36 * 8 * 128 * 2
"""Keys and values of one position: 36 layers, 8 heads of 128, two bytes each."""

_STREAM_BYTES = 30_000_000
"""What the codec remembers of one stream, and what a step needs for it."""

_WORK_BYTES = 1_100_000_000
"""CUDA's context 0.5 GB, workspaces and graphs, the codec's activations while it decodes."""


def needed_bytes(quant: str, *, max_positions: int) -> int:
    """What one stream takes in all, with a cache of so many positions."""
    cache_bytes = max_positions * POSITION_BYTES + _STREAM_BYTES
    return WEIGHT_BYTES[quant] + cache_bytes + _WORK_BYTES


def worthwhile_quants() -> list[str]:
    """Those to choose from for a card, best first, up to q8_0: each takes less than the better."""
    chosen: list[str] = []
    for quant, num_bytes in WEIGHT_BYTES.items():
        is_smaller = not chosen or num_bytes < WEIGHT_BYTES[chosen[-1]]
        if quant != "f16" and is_smaller:
            chosen.append(quant)
    return chosen
