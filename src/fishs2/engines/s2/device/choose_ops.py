"""Which kernels a card may use: those that give there what plain PyTorch gives.

Every kernel is compared with its plain twin when a model is loaded, on that model's own matrices
and for every number of rows that is compiled differently. One that fails to compile or is wrong is
left out with a warning: speed is lost, never correctness.
"""

import logging
import time
from dataclasses import replace
from importlib.util import find_spec
from math import inf, isnan
from typing import Literal

import torch
from torch import Tensor, nn

from fishs2.engines.s2.device.check_ops import NUM_ROWS, Check, checks
from fishs2.engines.s2.device.ops import PLAIN, RowOps
from fishs2.engines.s2.model.linear import QuantLinear
from fishs2.errors import EngineUnavailableError

logger = logging.getLogger(__name__)

Kernels = Literal["auto", "triton", "torch"]
_TOLERANCE = {torch.float32: 1e-4, torch.float16: 5e-3, torch.bfloat16: 2e-2}
"""Error over size of the result, both as norms: roundings of a sum in another order."""
_EQUAL_DRAWS = 0.98
"""Share of draws that must be the same; a sum in another order may move a border past a number."""


def choose_ops(slow: nn.ModuleList, fast: nn.ModuleList, kernels: Kernels) -> RowOps | None:
    """What decode steps on the device of these blocks are made of; None away from NVIDIA cards.

    Packed matrices are told to use the kernels too, for prompts. Raises EngineUnavailableError when
    `triton` was asked for and cannot be had.
    """
    device = next(slow.parameters()).device
    if device.type != "cuda":
        if kernels == "triton":
            raise EngineUnavailableError(
                f"FISHS2_KERNELS is triton; the device is {device.type}, and Triton needs an "
                "NVIDIA card; leave the setting out"
            )
        return None
    if kernels == "torch":
        return PLAIN
    if find_spec("triton") is None:
        if kernels == "triton":
            raise EngineUnavailableError(
                "FISHS2_KERNELS is triton; Triton is not installed; `pip install triton` or leave "
                "the setting out"
            )
        logger.warning("Triton is not installed; S2 decodes with plain PyTorch, slower")
        return PLAIN
    logger.info("compiling and checking the Triton kernels; the first time takes a minute")
    started_s = time.perf_counter()
    ops = use_kernels(slow, fast, triton_ops())
    logger.info("checked the Triton kernels in %.1f s", time.perf_counter() - started_s)
    if ops.multiply is not PLAIN.multiply:
        for module in (*slow.modules(), *fast.modules()):
            if isinstance(module, QuantLinear):
                module.product = ops.multiply
    return ops


@torch.inference_mode()
def use_kernels(
    slow: nn.ModuleList,
    fast: nn.ModuleList,
    ops: RowOps,
    *,
    num_rows: tuple[int, ...] = NUM_ROWS,
) -> RowOps:
    """`ops`, with the plain one in the place of every one that does not pass."""
    tests = checks(slow, fast, num_rows)
    failed = [name for name, check in tests.items() if not _passes(name, check, ops)]
    plain = {name: getattr(PLAIN, name) for name in failed}
    return replace(ops, **plain, reads_filled="attend" not in failed)


def triton_ops() -> RowOps:
    """All kernels, untested."""
    # Imported here: Triton is there on Linux and Windows only, and looks for a card.
    from fishs2.engines.s2.device.triton import attend, draws, matrix, rows

    return RowOps(
        rows.add_norm,
        rows.place_heads,
        attend.attend,
        attend.attend_piece,
        matrix.multiply,
        matrix.multiply_parts,
        matrix.gate,
        draws.uniform_numbers,
        draws.draw_code,
        draws.draw_semantic,
        reads_filled=True,
    )


def _passes(name: str, check: Check, ops: RowOps) -> bool:
    try:
        worst = max(
            _difference(ours, plain) for ours, plain in zip(check(ops), check(PLAIN), strict=True)
        )
    except Exception as error:
        # No compiler, a card too old, too little shared memory: each raises something of its own.
        logger.warning(
            "the Triton kernel %s cannot be used here (%s: %s); plain PyTorch takes its place, "
            "slower",
            name,
            type(error).__name__,
            str(error).partition("\n")[0][:200],
            exc_info=logger.isEnabledFor(logging.DEBUG),
        )
        return False
    if worst <= 1:
        return True
    logger.warning(
        "the Triton kernel %s gives wrong results here (%.2g times the tolerance); plain PyTorch "
        "takes its place, slower",
        name,
        worst,
    )
    return False


def _difference(ours: Tensor, plain: Tensor) -> float:
    """How far apart, over what is tolerated; not finite where it should be is infinitely far."""
    if ours.shape != plain.shape:
        return inf
    if not plain.is_floating_point():
        share = (ours == plain).float().mean().item()
        return (1 - share) / (1 - _EQUAL_DRAWS)
    error = (ours.double() - plain.double()).norm() / plain.double().norm().clamp(min=1e-30)
    worst = error.item() / _TOLERANCE[plain.dtype]
    return inf if isnan(worst) else worst
