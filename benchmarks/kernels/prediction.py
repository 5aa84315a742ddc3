"""Milliseconds of a decode step on cards, from what it launches and what that compiles to.

A product takes as long as its bytes take to come or its loops to be issued, whichever is longer;
every launch costs a gap and its own beginning. docs/benchmarks.md states the model on one page.
Within 25 % is as near as such a model comes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, prod

from benchmarks.kernels.launches import Launch
from benchmarks.kernels.machine_code import MachineCode, variant_of
from benchmarks.s2_gpu_parts import FRAME_S

CONTEXT = 500  # positions that attention reads
_KV_BYTES = 2 * 36 * 8 * 128 * 2  # keys and values of all layers in bfloat16, per position
_LONG_LAUNCHES = ("_few", "_tiles")

# Shares of a card's best that such kernels reach. Source: performance notes, section 1c.
_FEW_BANDWIDTH, _TILES_BANDWIDTH, _CUBLAS_BANDWIDTH, _KV_BANDWIDTH = 0.88, 0.65, 0.78, 0.65
_FEW_ISSUE, _TILES_ISSUE, _CUBLAS_FLOPS = 0.8, 0.6, 0.5

_DRAW_S = 12e-6
_ROUND_S = 0.2e-6
"""Of a sum over all tokens, by one program: two barriers and two passes of shuffles."""


@dataclass(frozen=True, slots=True)
class Card:
    """Bytes per second, processors, their clock, and floating point operations per second."""

    name: str
    bandwidth: float
    num_sms: int
    clock_hz: float
    flops: float


# Sources: NVIDIA's data sheets and architecture papers of each; clocks under load.
CARDS = (
    Card("H100", 3.35e12, 132, 1.75e9, 990e12),
    Card("H200", 4.8e12, 132, 1.75e9, 990e12),
    Card("4090", 1.008e12, 128, 2.5e9, 165e12),
    Card("3060", 0.36e12, 28, 1.78e9, 51e12),
)
_HOST_MS = {1: 0.4, 2: 0.45, 4: 0.5, 8: 0.7, 32: 1.5, 64: 2.2, 256: 7.5}
"""Measured on a CPU, see docs/benchmarks.md."""
BATCHES = tuple(_HOST_MS)


@dataclass(frozen=True, slots=True)
class _LaunchCost:
    """Seconds. gap: before a kernel. ramp: until a product reads at its best. small: of others."""

    gap_s: float
    ramp_s: float
    small_s: float


_APART = _LaunchCost(1.1e-6, 1.6e-6, 2.0e-6)
_DEPENDENT = _LaunchCost(0.5e-6, 0.4e-6, 1.5e-6)
"""With programmatic dependent launch: the next begins while the last one ends."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """Milliseconds of one step of `num_rows` utterances, by what they go to."""

    card: str
    width: str
    num_rows: int
    products_ms: float
    attention_ms: float
    draws_ms: float
    launches_ms: float
    host_ms: float

    @property
    def step_ms(self) -> float:
        ours = self.products_ms + self.attention_ms + self.draws_ms + self.launches_ms
        return ours + self.host_ms

    @property
    def rtf(self) -> float:
        """Of each stream, without the codec."""
        return self.step_ms / 1000 / FRAME_S

    @property
    def throughput(self) -> float:
        """Seconds of sound per second, without the codec."""
        return self.num_rows / self.rtf


def predict(
    card: Card,
    width: str,
    num_rows: int,
    launches: Sequence[Launch],
    codes: Mapping[str, MachineCode],
) -> Prediction:
    """launches: of one step. codes: by variant, those of all products among them."""
    products_s = sum(
        _product_s(card, num_rows, each, codes) for each in launches if each.is_product
    )
    kv_s = num_rows * CONTEXT * _KV_BYTES / (card.bandwidth * _KV_BANDWIDTH)
    num_draws = sum(each.name == "_draw" for each in launches)
    draws_s = num_draws * _DRAW_S * ceil(num_rows / card.num_sms)
    launches_s = sum(_launch_s(each) for each in launches)
    return Prediction(
        card.name,
        width,
        num_rows,
        1000 * products_s,
        1000 * kv_s,
        1000 * draws_s,
        1000 * launches_s,
        _HOST_MS[num_rows],
    )


def free_draw_ms(launches: Sequence[Launch], num_rounds: int) -> float:
    """What the draws of a frame take with the settings that make them longest.

    num_rounds: of one search; the semantic draw makes two.
    """
    draws = [each.values or {} for each in launches if each.name == "_draw"]
    num_searches = sum(2 if values["IS_SEMANTIC"] else 1 for values in draws)
    return 1000 * _ROUND_S * num_rounds * num_searches


def cycles_per_turn(code: MachineCode) -> float:
    """What a processor needs for one turn of a program's loop, if nothing is waited for.

    Four warps issue at once; shuffles and shared memory take one warp per cycle, and conversions
    half of one. Source: CUDA programming guide, arithmetic throughputs for 9.0.
    """
    loop, num_warps = code.loop, code.num_warps
    return max(
        loop.num_instructions * num_warps / 4,
        (loop.num_shuffles + loop.num_shared) * num_warps,
        loop.num_conversions * num_warps * 2,
    )


def weights_per_turn(launch: Launch) -> int:
    """Weights that a program takes in one turn of its loop."""
    values = launch.values or {}
    is_gate = values.get("IS_GATE", False)
    num_weights: int = values["BLOCK_R"] * values["BLOCK_C"]
    return num_weights * (2 if is_gate else 1)


def _product_s(
    card: Card, num_rows: int, launch: Launch, codes: Mapping[str, MachineCode]
) -> float:
    if launch.name not in _LONG_LAUNCHES:
        operations = 2 * launch.num_weights * num_rows
        return max(
            launch.matrix_bytes / (card.bandwidth * _CUBLAS_BANDWIDTH),
            operations / (card.flops * _CUBLAS_FLOPS),
        )
    is_few = launch.name == "_few"
    code = codes[variant_of(launch)]
    values = launch.values or {}
    # Of the last block of columns as much is computed as of the others.
    turns = prod(launch.grid) * ceil(values["part_columns"] / values["BLOCK_C"])
    issue = _FEW_ISSUE if is_few else _TILES_ISSUE
    read_s = launch.matrix_bytes / card.bandwidth / (_FEW_BANDWIDTH if is_few else _TILES_BANDWIDTH)
    issue_s: float = turns * cycles_per_turn(code) / card.num_sms / card.clock_hz / issue
    return max(read_s, issue_s)


def _launch_s(launch: Launch) -> float:
    cost = _DEPENDENT if (launch.values or {}).get("launch_pdl") else _APART
    return cost.gap_s + (cost.ramp_s if launch.is_product else cost.small_s)
