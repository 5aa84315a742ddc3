"""What was promised of kernels and launches, beside what is."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.kernels.launches import Launch
from benchmarks.kernels.machine_code import MachineCode, variant_of
from benchmarks.kernels.prediction import Prediction, weights_per_turn
from benchmarks.random_model import Width

_INSTRUCTIONS: dict[Width, float] = {"bf16": 80, "q8_0": 110}
_RTF: dict[Width, float] = {"bf16": 0.120, "q8_0": 0.070, "q4_0": 0.060}
_WEIGHTS = 16  # what instructions are counted for, per thread
_MAX_SHARED = 99 << 10  # of one program, on cards of 8.6 and 8.9


@dataclass(frozen=True, slots=True)
class Bar:
    """value: what is. limit: what it must not pass; None where nothing was promised."""

    name: str
    value: float
    limit: float | None = None

    @property
    def is_reached(self) -> bool:
        return self.limit is None or self.value <= self.limit

    def __str__(self) -> str:
        shown = f"{self.value:.3f}" if self.value % 1 else f"{self.value:.0f}"
        if self.limit is None:
            return f"{self.name:<62} {shown:>8}"
        verdict = "reached" if self.is_reached else "NOT REACHED"
        return f"{self.name:<62} {shown:>8}   at most {self.limit:g}: {verdict}"


def instructions_per_weights(launch: Launch, code: MachineCode) -> float:
    """Instructions of a thread in the loop for 16 weights of its own."""
    weights = weights_per_turn(launch) / (32 * code.num_warps)
    return code.loop.num_instructions / weights * _WEIGHTS


def count_bars(
    nodes: int, prefill: int, codec: int, free_draw_ms: float, rtf: Mapping[Width, float]
) -> Iterator[Bar]:
    """What does not depend on the card that is compiled for, but for its loops."""
    yield Bar("graph nodes per frame", nodes, 250)
    yield Bar("launches per prefill piece", prefill, 400)
    yield Bar("launches per codec chunk", codec, 350)
    yield Bar("ms per frame of the draws of the freest client", free_draw_ms, 0.2)
    for width, value in rtf.items():
        yield Bar(f"H100 {width} RTF", value, _RTF[width])


def product_bars(
    capability: int, width: Width, launches: Sequence[Launch], codes: Mapping[str, MachineCode]
) -> Iterator[Bar]:
    """Of the small-batch product in a step of one row; nothing if something else multiplies."""
    few = [each for each in launches if each.name == "_few"]
    found = [(each, codes[variant_of(each)]) for each in few]
    # The head of the slow AR is dense in every width.
    kind = max((each.values or {})["KIND"] for each in few) if few else None
    pairs = [
        (each, code)
        for each, code in found
        if ((each.values or {})["KIND"], (each.values or {})["BLOCK_N"]) == (kind, 1)
        and not code.failure
    ]
    if not pairs:
        return
    name = f"sm_{capability} {width} product of one vector"
    worst = max(instructions_per_weights(each, code) for each, code in pairs)
    yield Bar(f"{name}, instructions per {_WEIGHTS} weights", worst, _INSTRUCTIONS.get(width))
    yield Bar(f"{name}, shuffles in the loop", max(c.loop.num_shuffles for _, c in pairs), 0)
    yield Bar(f"{name}, barriers in the loop", max(c.loop.num_barriers for _, c in pairs), 2)


def code_bars(capability: int, codes: Sequence[MachineCode]) -> Iterator[Bar]:
    """Of all kernels together."""
    name = f"sm_{capability} kernels"
    yield Bar(f"{name} that do not compile", sum(bool(each.failure) for each in codes), 0)
    yield Bar(f"{name}, stack of the worst, bytes", max(c.stack_bytes for c in codes), 0)
    yield Bar(
        f"{name}, shared memory of the worst", max(c.shared_bytes for c in codes), _MAX_SHARED
    )


def cost_bars(predictions: Sequence[Prediction]) -> Iterator[Bar]:
    """What four vectors cost beside one, in products alone."""
    on_card = {(p.width, p.num_rows): p.products_ms for p in predictions if p.card == "H100"}
    for (width, num_rows), products_ms in on_card.items():
        if num_rows == 4 and (width, 1) in on_card:
            ratio = products_ms / on_card[width, 1]
            yield Bar(f"H100 {width} products of 4 vectors over those of 1", ratio, 1.3)
