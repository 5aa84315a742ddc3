"""Work on a card, recorded once and replayed: a CUDA graph is launched as one; and its end."""

import time
from collections.abc import Callable
from typing import Protocol

import torch

Replay = Callable[[], None]
_POLL_S = 2e-5  # far below the shortest step, and other threads run meanwhile


class Mark(Protocol):
    """A point in a stream; `torch.cuda.Event` is one."""

    def query(self) -> bool:
        """Whether the device has come so far."""
        ...

    def synchronize(self) -> None:
        """Wait until it has."""
        ...


def wait_beside(mark: Mark, on_wait: Callable[[], bool]) -> None:
    """Wait for a mark, and call `on_wait` again and again until then; once at least.

    It is not called again in this wait when it returns False.
    """
    while on_wait() and not mark.query():
        time.sleep(_POLL_S)
    mark.synchronize()


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
