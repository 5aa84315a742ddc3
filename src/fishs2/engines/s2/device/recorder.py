"""Work on a card, recorded once and replayed: a CUDA graph is launched as one."""

from collections.abc import Callable
from typing import Protocol

import torch

Replay = Callable[[], None]


class Recorder(Protocol):
    """Turns work that always uses the same memory into something that does it again."""

    def record(self, work: Callable[[], None]) -> Replay:
        """Do the work at least once, and return what repeats it. Raises RuntimeError."""
        ...


class CudaRecorder:
    """Records CUDA graphs that share one pool of memory: one of them runs at a time."""

    def __init__(self, device: torch.device, *, priority: int = 0) -> None:
        """priority: of the kernels, where others run beside them; the lower goes first."""
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream(device, priority=priority)  # type: ignore[no-untyped-call]

    def record(self, work: Callable[[], None]) -> Replay:
        with torch.cuda.device(self._device):
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                work()  # kernels are compiled and libraries take their memory before the capture
            self._stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            # Another thread may be encoding a voice meanwhile.
            with torch.cuda.graph(
                graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
            ):
                work()
        return graph.replay
