"""What the passes of a real-size S2 model launch, found by running them without any memory."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from triton.runtime.jit import JITFunction

from benchmarks.make_model import sizes
from benchmarks.random_model import RandomLoader, Width
from fishs2.engines.s2.device.choose_ops import triton_ops
from fishs2.engines.s2.device.codec_stream import CodecStream
from fishs2.engines.s2.device.recorder import Mark
from fishs2.engines.s2.device.row_pass import read_prompt
from fishs2.engines.s2.device.step_work import StepWork
from fishs2.engines.s2.model.codec import Codec
from fishs2.engines.s2.model.fast_ar import FastAr
from fishs2.engines.s2.model.linear import QuantLinear
from fishs2.engines.s2.model.slow_ar import SlowAr
from fishs2.engines.s2.model.step import NUM_COLUMNS, DualAr, allocate_tables
from fishs2.engines.s2.weights.tensors import Weights

META = torch.device("meta")
MAX_POSITIONS = 4096
PIECE_TOKENS = 128
CHUNK_FRAMES = 16
_MATRICES = ("q", "scale", "minimum", "q_third", "scale_third", "minimum_third")
_PRODUCTS = ("aten.linear", "aten.mm", "aten.addmm")
_NO_LAUNCH = ("aten.empty", "aten.new_empty", "aten._unsafe_view", "aten.lift_fresh")


@dataclass(frozen=True, slots=True, eq=False)
class Launch:
    """One kernel on its way to a card.

    kernel: None for PyTorch's own. values: arguments and options by name. num_weights: of matrices
    that it multiplies by, `matrix_bytes` in memory.
    """

    name: str
    kernel: Any = None
    grid: tuple[int, ...] = ()
    values: dict[str, Any] | None = None
    num_weights: int = 0
    matrix_bytes: int = 0

    @property
    def is_product(self) -> bool:
        return self.num_weights > 0


class _PyTorchLaunches(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes what PyTorch computes itself; a composite counts as one."""

    def __init__(self, launches: list[Launch]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._launches = launches

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:  # Any: as PyTorch declares it
        out = func(*args, **(kwargs or {}))
        name = str(func).rsplit(".", 1)[0]
        if not name.startswith(_NO_LAUNCH) and (name.endswith("_") or not _is_view(out, args)):
            matrix = args[1] if name in _PRODUCTS else None
            num_weights, num_bytes = (
                (matrix.numel(), matrix.nbytes) if matrix is not None else (0, 0)
            )
            self._launches.append(Launch(name, num_weights=num_weights, matrix_bytes=num_bytes))
        return out


def _is_view(out: Any, args: Any) -> bool:
    """Whether nothing was computed: the result lies where an argument lies."""
    first = out[0] if isinstance(out, tuple | list) else out
    return isinstance(first, Tensor) and any(
        _memory_of(each) == _memory_of(first) for each in args if isinstance(each, Tensor)
    )


def _memory_of(tensor: Tensor) -> int:
    # Without memory there is no address that could be asked for.
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001


@contextmanager
def recording() -> Iterator[list[Launch]]:
    """Inside, kernels are noted and not launched."""
    launches: list[Launch] = []

    def run(kernel: Any, *args: Any, grid: Any, warmup: bool, **options: Any) -> None:
        values = {**dict(zip(kernel.arg_names, args, strict=False)), **options}
        shape = tuple(grid(values) if callable(grid) else grid)
        launches.append(_triton_launch(kernel, shape, values))

    before = JITFunction.run
    JITFunction.run = run
    try:
        with torch.inference_mode(), _PyTorchLaunches(launches):
            yield launches
    finally:
        JITFunction.run = before


def _triton_launch(kernel: Any, grid: tuple[int, ...], values: dict[str, Any]) -> Launch:
    if "q" not in values or "num_columns" not in values:
        return Launch(kernel.__name__, kernel, grid, values)
    is_gate = values.get("IS_GATE", False)
    found = {id(values[name]): values[name] for name in _MATRICES if name in values}
    num_weights = values["num_rows"] * values["num_columns"] * (2 if is_gate else 1)
    num_bytes = sum(each.nbytes for each in found.values())
    return Launch(kernel.__name__, kernel, grid, values, num_weights, num_bytes)


@cache
def real_model(width: Width) -> DualAr:
    """S2 Pro without memory, as it would lie on a card."""
    size = sizes()["real"]
    load = _loader(width)
    slow, fast = SlowAr(size.ar, load, end_id=size.end_id), FastAr(size.ar, load)
    for module in (*slow.modules(), *fast.modules()):
        if isinstance(module, QuantLinear):
            module.product = triton_ops().multiply
    return DualAr(size.ar, slow, fast, size.end_id, torch.bfloat16, META)


def decode_step(width: Width, num_rows: int) -> list[Launch]:
    """The graph of one frame for `num_rows` utterances."""
    ar = real_model(width)
    work = StepWork(ar, triton_ops(), allocate_tables(ar, num_rows, MAX_POSITIONS))
    columns = torch.zeros(num_rows, NUM_COLUMNS, dtype=torch.int64, device=META)
    frames = torch.zeros(num_rows, 1 + ar.config.num_codebooks, dtype=torch.int32, device=META)
    with recording() as launches:
        frames[:] = work.draw(columns, span=MAX_POSITIONS)
    return launches


def prefill_piece(width: Width) -> list[Launch]:
    """A piece of a prompt, in the middle."""
    ar = real_model(width)
    cache = allocate_tables(ar, 1, MAX_POSITIONS).cache
    shape = (1 + ar.config.num_codebooks, PIECE_TOKENS)
    tokens = torch.zeros(shape, dtype=torch.int64, device=META)
    row, ops = cache.rows(0, 1), triton_ops()
    with recording() as launches:
        read_prompt(ar.slow, tokens, row, start=PIECE_TOKENS, ops=ops, dtype=ar.dtype)
    return launches


def codec_chunk() -> list[Launch]:
    """The graph of a chunk of one utterance."""
    codec = Codec(sizes()["real"].codec, replace(_loader("bf16"), dtype=torch.float32))
    recorder = _NotingRecorder()
    CodecStream(codec, num_slots=1, lane=_NoLane(), recorder=recorder, kind="f32")
    return recorder.noted[0]  # the longest chunk is recorded first


def _loader(width: Width) -> RandomLoader:
    return RandomLoader(Weights("meta", {}, {}), dtype=torch.bfloat16, device=META, width=width)


class _NotingRecorder:
    def __init__(self) -> None:
        self.noted: list[list[Launch]] = []

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        with recording() as launches:
            work()
        self.noted.append(launches)
        return work


class _NoLane:
    @contextmanager
    def active(self) -> Iterator[None]:
        yield

    def mark(self) -> Mark:
        raise NotImplementedError
